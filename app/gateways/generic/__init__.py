"""Gateways described by data: the engine behind the gateway `http` and behind every preset."""
