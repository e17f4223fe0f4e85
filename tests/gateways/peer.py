"""The peer of the contract kit, by the name that the tests use."""

from app.gateways.kit.peer import Handler, Peer, answer, close, drip, hang, reset, say

__all__ = ["Handler", "Peer", "answer", "close", "drip", "hang", "reset", "say"]
