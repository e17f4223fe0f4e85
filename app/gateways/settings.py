"""Checks a gateway's settings against its fields: the one validation of the form and of the command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from app.domain.sentences import N_, Sentence
from app.gateways.base import Field, Gateway, SettingsInvalid
from app.transport import Reach, check_url, origin_of

_LENGTH_LIMIT = {"json": 20_000, "long": 20_000, "url": 2_000, "secret": 4_000}
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def validate_settings(
    gateway: type[Gateway],
    given: Mapping[str, str],
    *,
    stored: Mapping[str, str] | None = None,
    allow_private: bool = False,
    reach: Reach | None = None,
) -> dict[str, str]:
    """The complete settings: what was given, checked, and the defaults of the rest.

    `reach` says which addresses may be called; `allow_private` in its place allows all of them, for tests.
    A secret that is missing or empty keeps its value from `stored`, since a form never shows it; but only
    for the addresses that it was saved with, or whoever changes an address would be sent the secret.

    Raises:
        SettingsInvalid: with a sentence for each field that is wrong.
    """
    reach = reach or Reach(everywhere=allow_private)
    known = {field.name for field in gateway.fields}
    errors: dict[str, str] = {
        name: Sentence("There is no setting “%(name)s”.", name=name) for name in given if name not in known
    }
    settings: dict[str, str] = {}
    kept: set[str] = set()  # secrets that nobody typed now
    for field in gateway.fields:
        value = given.get(field.name, "").strip()
        if field.name not in given:
            value = field.default
        if field.secret and not value and stored:
            value = stored.get(field.name, "")
            kept |= {field.name} if value else set()
        problem, settings[field.name] = _check(field, value, reach)
        if problem:
            errors[field.name] = problem
    if stored and _addresses(gateway, settings) - _addresses(gateway, stored):
        errors |= {
            field.name: Sentence(
                "“%(label)s” was saved for another address: enter it again.", label=_label(field)
            )
            for field in gateway.fields
            if field.name in kept and field.name not in errors
        }
    if errors:
        raise SettingsInvalid(errors)
    gateway.validate_settings(settings)
    return settings


def _addresses(gateway: type[Gateway], settings: Mapping[str, str]) -> set[tuple[str, ...]]:
    """Where the calls of these settings go: scheme, host and port of every address among them."""
    found = set()
    place = []
    for field in gateway.fields:
        value = settings.get(field.name, field.default).strip()
        if field.kind == "url" and value:
            found.add(origin_of(value))
        elif field.is_place:
            place.append(value.lower())
    return found | ({tuple(place)} if any(place) else set())


def _check(field: Field, value: str, reach: Reach) -> tuple[str, str]:
    """A sentence on what is wrong (empty when nothing is) and the value in its one spelling."""
    if field.kind == "bool":
        return _check_bool(value)
    if not value:
        return (Sentence("“%(label)s” is required.", label=_label(field)) if field.required else ""), ""
    limit = _LENGTH_LIMIT.get(field.kind, 500)
    if len(value) > limit:
        text = Sentence("“%(label)s” is longer than %(limit)s characters.", label=_label(field), limit=limit)
        return text, value
    if _FORBIDDEN.search(value) or ("\n" in value and field.kind not in ("json", "long")):
        return Sentence("“%(label)s” has a line break or a control character.", label=_label(field)), value
    if field.pattern and not re.fullmatch(field.pattern, value):
        return _odd_form(field), value
    return _problem_of_kind(field, value, reach), value


def _check_bool(value: str) -> tuple[str, str]:
    word = value.lower()
    if word in _TRUE:
        return "", "true"
    return ("" if word in _FALSE else N_("Write true or false.")), "false"


def _odd_form(field: Field) -> Sentence:
    if not field.example:
        return Sentence("“%(label)s” does not have the expected form.", label=_label(field))
    return Sentence(
        "“%(label)s” does not have the expected form. Example: %(example)s",
        label=_label(field),
        example=field.example,
    )


def _label(field: Field) -> Sentence:
    return Sentence(field.label)


def _problem_of_kind(field: Field, value: str, reach: Reach) -> str:
    match field.kind:
        case "int":
            is_whole = re.fullmatch(r"-?[0-9]{1,12}", value)
            return "" if is_whole else Sentence("“%(label)s” must be a whole number.", label=_label(field))
        case "choice":
            words = [choice for choice, _ in field.choices]
            if value in words:
                return ""
            choices = ", ".join(words)
            return Sentence("“%(label)s” must be one of: %(choices)s.", label=_label(field), choices=choices)
        case "url":
            # Placeholders are for the path and the query; braces in the host are refused with it.
            return check_url(value, reach=reach)
        case "json":
            return _problem_of_json(field, value)
    return ""


def _problem_of_json(field: Field, value: str) -> str:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return Sentence("“%(label)s” is not JSON.", label=_label(field))
    if not isinstance(parsed, dict):
        return Sentence("“%(label)s” must be a JSON object, in braces.", label=_label(field))
    return ""
