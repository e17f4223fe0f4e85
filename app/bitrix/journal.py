"""REST calls as they are written down: the marketplace demands three days of them, and no secret in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from app.domain.numbers import mask
from app.domain.rest_calls import RestCall
from app.transport import HttpAnswer

KEPT_CHARACTERS = 4000

_HIDDEN = re.compile(
    r'("(?:auth|access_token|refresh_token|application_token|client_secret)"\s*:\s*)"[^"]*"', re.IGNORECASE
)
_SECRET_PATH = re.compile(r"(/sms/|/reports/[a-z0-9_]+/)[A-Za-z0-9_-]{16,}")
_PHONE = re.compile(r"\+\d{8,15}")
_PERSON = re.compile(r'("(?:NAME|LAST_NAME|EMAIL|PERSONAL_[A-Z_]+)"\s*:\s*)"[^"]*"')


def written_down(
    method: str, params: Mapping[str, Any], answer: HttpAnswer | None, failure: str, took_s: float
) -> RestCall:
    """A call and its answer; `failure` says why there is none."""
    body = _json_of(answer)
    operating_s, reset_at = operating(body)
    text = answer.text[:KEPT_CHARACTERS] if answer is not None else ""
    if method == "profile":  # who opened the app is nobody's business in a log
        text = _PERSON.sub(r'\1"***"', text)
    return RestCall(
        method=method,
        params=_without_secrets(json.dumps(dict(params), ensure_ascii=False)),
        http_status=answer.status if answer is not None else 0,
        error=failure or ", ".join(_errors(body)) or _bad_status(answer),
        answer=_without_secrets(text),
        took_ms=int(took_s * 1000),
        operating_s=operating_s,
        operating_reset_at=reset_at,
    )


def _json_of(answer: HttpAnswer | None) -> Mapping[str, Any]:
    try:
        body = answer.json() if answer is not None else None
    except ValueError:
        body = None
    return body if isinstance(body, Mapping) else {}


def _errors(body: Mapping[str, Any]) -> list[str]:
    """The error of a call, or those of a batch's commands, each once."""
    if error := body.get("error"):
        return [str(error)]
    result = body.get("result")
    inner = result.get("result_error") if isinstance(result, Mapping) else None
    entries = inner.values() if isinstance(inner, Mapping) else inner if isinstance(inner, list) else ()
    return sorted({str(entry.get("error", "")) for entry in entries if isinstance(entry, Mapping)})


def _bad_status(answer: HttpAnswer | None) -> str:
    """A proxy's page has no error in it."""
    return f"HTTP_{answer.status}" if answer is not None and not answer.ok else ""


def operating(body: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Seconds of running time used, and when they are forgotten; a batch's commands count as well."""
    result = body.get("result")
    inner = result.get("result_time") if isinstance(result, Mapping) else None
    nodes = [body.get("time"), *(inner.values() if isinstance(inner, Mapping) else ())]
    used = [
        (float(node["operating"]), float(node["operating_reset_at"]))
        for node in nodes
        if isinstance(node, Mapping)
        and isinstance(node.get("operating"), int | float)
        and isinstance(node.get("operating_reset_at"), int | float)
    ]
    return max(used) if used else (None, None)


def _without_secrets(text: str) -> str:
    text = _HIDDEN.sub(r'\1"***"', text)
    text = _SECRET_PATH.sub(r"\1***", text)
    return _PHONE.sub(lambda match: mask(match.group()), text)
