"""`flask --app app doctor`"""

from __future__ import annotations

import sys

import click

from app.cli import checks
from app.cli.output import as_json, show
from app.services import services


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Check clock, database, engine, worker, keys, folders, our public address and Bitrix24's servers."""
    found = [(name, check()) for name, check in checks.ALL]
    found += [(f"authorization server {s}", checks.server(s)) for s in services().config.oauth_servers]
    found.append(("application", checks.application()))
    called, silence = checks.last_call()
    warnings = services().warnings
    data = [{"check": name, "ok": not problem, "problem": problem} for name, problem in found]
    data += [{"check": "last HANDLER call", "ok": True, "problem": silence, "at": called}]
    data += [{"check": "configuration", "ok": True, "problem": warning} for warning in warnings]
    lines = [f"{'ok  ' if not p else 'FAIL'} {name}{': ' + p if p else ''}" for name, p in found]
    lines += [f"{'WARN' if silence else 'ok  '} last HANDLER call: {silence or called or 'none yet'}"]
    lines += [f"WARN configuration: {warning}" for warning in warnings]
    show(data, lines, as_json=as_json)
    if any(problem for _, problem in found):
        sys.exit(1)
