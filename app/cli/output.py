"""What all commands share: how data is printed, how failures are said, how a portal is found."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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


def portal_of(member_id: str) -> Portal:
    portal = portals.by_member(member_id)
    return portal or fail(f"no portal has the member id {member_id}; see `flask --app app portals list`")
