"""Hints as they travel through Redis or a file: signed JSON, so that nothing of others is ever unpickled.

Huey's own serializers pickle, and whoever can make a pickle be loaded runs code of theirs here. A signature
alone would leave that to the secrecy of one key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from huey.registry import Message
from huey.serializer import Serializer


class HintRefused(ValueError):
    """Not a hint that a process with our keys has written."""


class SignedHints(Serializer):  # type: ignore[misc]
    """The first key signs, all of them verify."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._keys = [hashlib.sha256(f"engine:{secret}".encode()).digest() for secret in secrets]

    def _serialize(self, message: Message) -> bytes:
        if not isinstance(message, Message):
            raise TypeError("only hints go through the engine")
        eta = message.eta.isoformat() if message.eta else None
        body = json.dumps([message.id, message.name, eta, message.priority, list(message.args)]).encode()
        return self._sign(self._keys[0], body) + b" " + body

    def _deserialize(self, data: bytes) -> Message:
        signature, _, body = bytes(data).partition(b" ")
        if not any(hmac.compare_digest(signature, self._sign(key, body)) for key in self._keys):
            raise HintRefused("a hint without our signature: do all processes have the same SECRET_KEY?")
        found: list[Any] = json.loads(body)
        identity, name, eta, priority, args = found
        when = datetime.fromisoformat(eta) if eta else None
        return Message(
            id=identity,
            name=name,
            eta=when,
            retries=0,
            retry_delay=0,
            priority=priority,
            args=tuple(args),
            kwargs={},
        )

    @staticmethod
    def _sign(key: bytes, body: bytes) -> bytes:
        return hmac.new(key, body, hashlib.sha256).hexdigest().encode()
