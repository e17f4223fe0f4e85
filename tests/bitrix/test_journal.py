"""The journal of calls: whatever a call or an answer carries, no secret and no number of it stays."""

from __future__ import annotations

import json

import pytest

from app.bitrix.errors import PortalBusy, parsed
from app.bitrix.journal import written_down
from app.transport import HttpAnswer

SECRETS = {name: f"the-{name}-itself" for name in ("auth", "access_token", "refresh_token", "client_secret")}


def test_no_secret_is_written_down() -> None:
    params = {
        **SECRETS,
        "HANDLER": "https://sms.example.com/sms/abcdefghijklmnopqrstuvwx",
        "TO": "+4915112345678",
    }
    answer = HttpAnswer(200, {}, json.dumps({"result": {"nested": SECRETS}}).encode())

    kept = written_down("any.method", params, answer, "", 0.1)

    text = kept.params + kept.answer
    for secret in (*SECRETS.values(), "abcdefghijklmnopqrstuvwx", "4915112345678"):
        assert secret not in text
    assert "HANDLER" in kept.params


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null", b"<html>", b""])
def test_an_answer_that_is_no_object_is_trouble(body: bytes) -> None:
    with pytest.raises(PortalBusy):
        parsed(HttpAnswer(200, {}, body))
