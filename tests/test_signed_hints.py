"""Hints: what somebody else wrote into Redis or into the engine's file is never unpickled."""

from __future__ import annotations

import hashlib
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from huey.registry import Message
from huey.serializer import SignedSerializer

from app.services import services
from app.signed_hints import HintRefused, SignedHints
from tests.worlds.product import ENVIRONMENT, product

HINT = Message("id", "app.engine.perform", datetime(2026, 11, 28, 10, 0, 0, 5), 0, 0, 5, ("submit", 7), {})


class _Exploit:
    """Pickled, it writes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self._path, "taken")


def _bytes_of_others(path: Path) -> list[bytes]:
    pickled = pickle.dumps(_Exploit(path))
    secret = hashlib.sha256(f"engine:{ENVIRONMENT['SECRET_KEY']}".encode()).hexdigest()
    signed = SignedSerializer(secret=secret)._sign(pickled)  # as an earlier release signed its pickles
    return [pickled, signed, b"", b" ", b"[]", SignedHints(["another key"]).serialize(HINT)]


@pytest.mark.parametrize("engine", ["redis", "file"])
def test_bytes_of_others_are_refused_and_the_next_hint_is_taken(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    variables = {"REDIS_URL": request.getfixturevalue("redis_url")} if engine == "redis" else {}
    taken = tmp_path / "taken"
    with product(tmp_path, **variables):
        huey = services().engine.huey
        for data in _bytes_of_others(taken):
            huey.storage.enqueue(data)
            with pytest.raises(ValueError):
                huey.dequeue()
        services().engine.hint("submit", 7)

        assert huey.dequeue().args == ("submit", 7)
    assert not taken.exists()


def test_a_hint_arrives_as_it_was_given_also_by_an_older_key() -> None:
    before, after = SignedHints(["old key"]), SignedHints(["new key", "old key"])

    found = after.deserialize(before.serialize(HINT))

    assert found == HINT


def test_a_changed_hint_is_refused() -> None:
    hints = SignedHints(["key"])

    with pytest.raises(HintRefused, match="SECRET_KEY"):
        hints.deserialize(hints.serialize(HINT).replace(b"submit", b"erase!"))


def test_nothing_but_hints_goes_through_the_engine() -> None:
    with pytest.raises(TypeError):
        SignedHints(["key"]).serialize({"any": "thing"})
