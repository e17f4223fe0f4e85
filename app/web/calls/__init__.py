"""What machines call: Bitrix24's queue and the gateways."""
