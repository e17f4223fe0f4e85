"""Jobs on messages: submitted, followed up, told, verified."""
