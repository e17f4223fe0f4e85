"""Calls of gateways as an administrator may see them: what was asked and answered, and how long it took.

Bounded, and without secrets, texts of messages and full numbers: those of the very messages and of the
account are known here, whatever the gateway calls its fields; the product's one redaction does the rest.
Headers are left out, since most gateways are signed in to by them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

from app.domain.numbers import mask
from app.domain.outcomes import Exchange
from app.gateways.base import Gateway, Outgoing
from app.redaction import HIDDEN, hide, hide_all
from app.transport import HttpAnswer, TransportError

KEPT_CHARACTERS = 1200
_TEXT_NAMES = frozenset({"text", "body", "message", "msg", "mes", "sms", "content", "msgdata", "ud"})
_SHORT = 4  # a shorter text may be a part of anything: then a body that has no fields is not shown at all
_TAIL = 9  # digits by which a number is known in any spelling


@dataclass(frozen=True)
class Call:
    """One call and its end, as it was made."""

    method: str
    url: str
    asked: Mapping[str, Any]  # the request's `params`, `data` and `json`
    answer: HttpAnswer | None
    failure: str
    took_s: float


def called(
    request: Callable[..., HttpAnswer], made: list[Call], method: str, url: str, **options: Any
) -> HttpAnswer:
    """Make the call and note it in `made`, however it ends."""
    began = time.monotonic()
    answer, failure = None, ""
    try:
        answer = request(method, url, **options)
        return answer
    except TransportError as error:
        failure = str(error)
        raise
    finally:
        asked = {name: options[name] for name in ("params", "data", "json") if options.get(name)}
        made.append(Call(method, url, asked, answer, failure, time.monotonic() - began))


class Redaction:
    """What must not be read of the calls for these messages."""

    def __init__(self, gateway: Gateway, messages: Sequence[Outgoing]) -> None:
        self._secrets = _forms_of_secrets(gateway)
        self._texts = sorted({message.text for message in messages if message.text}, key=len, reverse=True)
        self._words = {word for text in self._texts for word in re.findall(rf"\w{{{_SHORT},}}", text)}
        self._forms = {text: _forms(text) for text in self._texts}
        tails = {tail: message.recipient for message in messages if (tail := _tail(message.recipient))}
        self._numbers = {tail: mask(number) for tail, number in tails.items()}

    def written_down(self, call: Call, *, most: int = KEPT_CHARACTERS) -> Exchange:
        answer = call.answer
        return Exchange(
            method=call.method,
            url=self._raw(call.url, is_body=False)[:300],
            asked=" ".join(self._shown(value) for value in call.asked.values())[:most],
            http_status=answer.status if answer is not None else 0,
            answered=(self._shown(answer.text[: most * 4]) if answer is not None else call.failure)[:most],
            took_ms=int(call.took_s * 1000),
        )

    def _shown(self, value: Any) -> str:
        if isinstance(value, bytes):
            value = value.decode("utf-8", errors="replace")
        if isinstance(value, str):
            fields = _fields(value)
            if fields is None:
                return self._raw(value)
            value = fields
        return json.dumps(self._inside(value), ensure_ascii=False)

    def _inside(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            return {str(key): self._named(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._inside(inner, name) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return self._plain(str(value)) if len(str(value)) >= _TAIL else value
        return self._plain(value) if isinstance(value, str) else value

    def _named(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name.casefold() in _TEXT_NAMES:
            return HIDDEN if value else value
        shown = self._inside(value, name)
        return hide_all({name: shown}).get(name, shown) if isinstance(shown, str) else shown

    def _plain(self, value: str) -> str:
        if value in self._texts:
            return HIDDEN
        return hide(self._without(value, [text for text in self._texts if len(text) >= _SHORT]))

    def _raw(self, text: str, *, is_body: bool = True) -> str:
        if is_body and any(len(each) < _SHORT for each in self._texts):
            return HIDDEN
        text = self._without(text, self._texts)
        for word in self._words if is_body else ():  # escaped in a way that nobody foresaw
            text = text.replace(word, HIDDEN)
        return hide(text)

    def _without(self, value: str, texts: Sequence[str]) -> str:
        for forms in (*(self._forms[text] for text in texts), self._secrets):
            for form in forms:
                value = value.replace(form, HIDDEN)
        return _DIGITS.sub(self._masked, value)

    def _masked(self, found: re.Match[str]) -> str:
        digits = found[0]
        for tail, masked in self._numbers.items():
            _, known, rest = digits.rpartition(tail)
            if known:
                return masked + rest
        return digits


_DIGITS = re.compile(r"(?:\+|%2[Bb])?\d+")


def _forms(text: str) -> tuple[str, ...]:
    """How it may be written in an address or a body."""
    return tuple(dict.fromkeys((text, json.dumps(text)[1:-1], quote(text), quote_plus(text), _xml(text))))


def _forms_of_secrets(gateway: Gateway) -> tuple[str, ...]:
    """The same for each of the account's secrets; worked out once for a gateway object, which may have fifty
    fields and makes a call for every message."""
    known: tuple[str, ...] | None = gateway.__dict__.get("_forms_of_secrets")
    if known is None:
        secrets = (gateway.settings.get(field.name, "") for field in gateway.fields if field.secret)
        known = tuple(form for each in secrets if len(each) >= _SHORT for form in _forms(each))
        gateway.__dict__["_forms_of_secrets"] = known
    return known


def _fields(text: str) -> Any:
    """The fields of JSON or of a form; None for anything else."""
    try:
        parsed = json.loads(text)
        return parsed if isinstance(parsed, dict | list) else None
    except ValueError:
        pass
    if "=" in text and not text.lstrip().startswith("<"):
        pairs = parse_qsl(text, keep_blank_values=True)
        if pairs and all(re.fullmatch(r"[\w.\[\]-]{1,60}", name) for name, _ in pairs):
            return dict(pairs)
    return None


def _tail(number: str) -> str:
    return "".join(filter(str.isdecimal, number))[-_TAIL:]


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
