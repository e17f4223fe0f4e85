"""A double of Bitrix24: portals with page and application frame, authorization server, REST, event queue."""
