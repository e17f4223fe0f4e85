"""What all commands share: how data is printed, how failures are said, how a portal is found."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NoReturn

import click

from app.domain.portals import Portal
from app.store.portals import portals

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(1)


def show(data: Any, lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=plain))
    else:
        click.echo("\n".join(lines))


def plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def number_in(word: str) -> int | None:
    """One of our numbers, as the log shows them."""
    return int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None


def portal_of(word: str) -> Portal:
    """By its member id, or by our number of it."""
    portal = portals.by_member(word)
    number = number_in(word)
    if portal is None and number is not None:
        with suppress(LookupError):
            portal = portals.by_id(number)
    return portal or fail(f"no portal has the member id {word}; see `flask --app app portals list`")
