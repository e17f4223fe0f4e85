"""The form of one gateway account: what its fields show, and what was typed into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flask import request

from app.gateways.base import Field, Gateway
from app.store.accounts.accounts import Account
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _

PREFIX = "set-"  # a setting may be called like a field of ours
SHOWN_END = 4
LONG_SECRET = 16  # the end of a shorter one would give too much away


@dataclass(frozen=True)
class Input:
    """One setting as the form shows it. A secret's value is never in here."""

    field: Field
    id: str
    label: str
    hint: str
    value: str
    error: str
    is_saved_secret: bool
    keeps_typed: bool  # the browser keeps what was typed into a secret, since we do not send it back
    choices: tuple[tuple[str, str], ...]


def typed(adapter: type[Gateway]) -> dict[str, str]:
    """What was typed. Browsers leave out a box that is not ticked, and what is left out means the default."""
    values = {}
    for field in adapter.fields:
        name = PREFIX + field.name
        default = {"bool": "false", "choice": field.default}.get(field.kind, "")
        values[field.name] = request.form.get(name, default).replace("\r\n", "\n")
    return values


def inputs_of(
    adapter: type[Gateway],
    account: Account | None,
    given: Mapping[str, str] | None,
    errors: Mapping[str, str],
    *,
    is_example: bool = False,
) -> list[Input]:
    """Required ones first, as they were declared otherwise. An example's values are shown, whatever they are:
    its keys were taken out, and what is not shown would not come back with the form."""
    fields = sorted(adapter.fields, key=lambda field: not field.required)
    inputs = [_input(field, account, given, errors) for field in fields]
    if not is_example or given is None:
        return inputs
    return [replace(one, value=given.get(one.field.name, ""), keeps_typed=False) for one in inputs]


def _input(
    field: Field, account: Account | None, given: Mapping[str, str] | None, errors: Mapping[str, str]
) -> Input:
    stored = account.settings.get(field.name, field.default) if account else field.default
    hints = [text_of(field.help)] if field.help else []
    is_saved_secret = field.secret and bool(stored)
    if is_saved_secret:
        hints.insert(0, _saved(stored))
    elif field.example:
        # Kept together from left to right, or JSON is shuffled among words that run the other way.
        hints.append(_("Example: %(example)s", example=f"\u2066{field.example}\u2069"))
    error = text_of(errors.get(field.name, ""))
    return Input(
        field=field,
        id=PREFIX + field.name,
        label=text_of(field.label),
        hint=" ".join(hints),
        value="" if field.secret else (given or {}).get(field.name, stored),
        error=error,
        is_saved_secret=is_saved_secret,
        keeps_typed=field.secret and given is not None and not error,
        choices=tuple((value, text_of(label)) for value, label in field.choices),
    )


def _saved(secret: str) -> str:
    if len(secret) < LONG_SECRET or not secret.isalnum():
        return _("Saved. Leave it empty to keep it.")
    return _("Saved, ends in %(end)s. Leave it empty to keep it.", end=secret[-SHOWN_END:])
