"""What the admin's pages cost the server beside a million messages of one portal: its processor time.

In this process, through the same views and templates that a browser asks for; on PostgreSQL with the time of
its server's processes. `ROWS=100000 make bench BENCH=pages` fills the database with fewer.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl

import sqlalchemy as sa
from flask import current_app

from app.domain.portals import Portal
from app.gateways.adapters.demo import Demo
from app.services import services
from app.store.accounts import accounts
from app.store.database import is_sqlite, statement, utcnow
from app.store.figures import counts
from app.web.admin.frame.sessions import Session, issue
from bench.growth import analyze
from bench.rows import bulk_writing, fill
from bench.sections import Section, table
from bench.usage import cpu_s
from bench.worlds import MODES, a_portal, product_on

ALLOWED_MS = 300.0
DAYS = 90

# A new page or a new deed of a page is a line here. BULK asks for something to be done with many messages,
# starts it where the request has counted all of them, and stops it.
PAGES: tuple[tuple[str, str], ...] = (
    ("overview", "/ui/overview"),
    ("statistics, 30 days", "/ui/statistics"),
    ("statistics, 90 days", "/ui/statistics?days=90"),
    ("statistics, own dates", "/ui/statistics?from={first}&to={last}"),
    ("log", "/ui/messages"),
    ("log, failed ones", "/ui/messages?status=failed"),
    ("log, a page far down", "/ui/messages?after={half}"),
    ("log, of robots", "/ui/messages?author=robot&period=30"),
    ("log, search by the last digits", "/ui/messages?q=4567"),
    ("log, a whole number that is nowhere", "/ui/messages?q=%2B4915199999999"),
    ("log, digits that are nowhere", "/ui/messages?q=9998887"),
    ("log, a word that is nowhere", "/ui/messages?q=needle"),
    ("many: how many there are", "/ui/bulk/count"),
    ("many: the failed ones are counted and started", "BULK deed=again&all=true&status=failed"),
    ("many: what a request counts of all", "BULK deed=again&all=true"),
    ("many: an export of all begins", "BULK deed=export&all=true"),
)

# How messages end, in so many of a hundred.
_FATES: tuple[tuple[int, dict[str, Any]], ...] = (
    (88, {"status": "delivered", "delivery_ms": 4_000}),
    (5, {"status": "sent", "reason": "no_report"}),
    (3, {"status": "undelivered", "reason": "reported"}),
    (3, {"status": "failed", "reason": "refused"}),
    (1, {"status": "unknown", "reason": "unknown"}),
)
_WAITING = 1_000


def measure(*, short: bool) -> Section:
    rows = 3_000 if short else int(os.environ.get("ROWS") or 1_000_000)
    figures = {
        mode: _measure(mode, rows, repeats=2 if short else 10) for mode in (MODES[:1] if short else MODES)
    }
    rows_of_table = [[title, *(found[title] for found in figures.values())] for title, _ in PAGES]
    return Section(
        title="Pages",
        text=f"Processor time of the server for one page beside {rows:,} messages of one portal, in"
        f" milliseconds; {ALLOWED_MS:.0f} are allowed.",
        table=table(["", *figures], rows_of_table),
        figures=figures,
        is_as_promised=short or all(ms <= ALLOWED_MS for found in figures.values() for ms in found.values()),
    )


def _measure(mode: str, rows: int, *, repeats: int) -> dict[str, float]:
    with product_on(mode):
        services().engine.hint = lambda *_, **__: True  # type: ignore[method-assign]
        portal = a_portal()
        _fill(portal, rows)
        while counts.fold(now=utcnow() + timedelta(days=1), limit=5_000):
            pass
        analyze()
        ask = _asking(portal)
        return {title: _processor_ms(lambda path=path: ask(path), repeats) for title, path in PAGES}


def _fill(portal: Portal, rows: int) -> None:
    """Spread over ninety days, with everything by which the pages split them, and some that wait."""
    now = utcnow()
    account = accounts.connect(
        portal.id, portal.member_id, Demo.slug, label=Demo.title, public={}, secrets={}, now=now
    )
    for day in range(DAYS):
        at = now - timedelta(days=day, hours=1)
        for share, fate in _FATES:
            some = {"received_at": at, "account_id": account.id, "segments": 1, "attempts": 1, **fate}
            some |= {"module_id": _source, "author_id": "7", "sender_code": _sender, "recipient": _number}
            fill(portal, max(1, rows * share // 100 // DAYS), prefix=f"d{day}-{fate['status']}", **some)
    _spread_over_the_hours()
    waiting = {"status": "queued", "work": "queued", "reason": "account_stopped", "due_at": now}
    fill(portal, _WAITING, prefix="waiting", account_id=account.id, **waiting)


def _number(n: Any) -> sa.ColumnElement[str]:
    return sa.literal("+49151").concat(sa.cast(10_000_000 + n * 7919 % 89_999_999, sa.String))


def _source(n: Any) -> sa.ColumnElement[str]:
    return sa.case((n % 3 == 0, "crm"), (n % 3 == 1, "bizproc"), else_="sender")


def _sender(n: Any) -> sa.ColumnElement[str]:
    return sa.literal("sms_").concat(sa.cast(n % 5, sa.String))


def _spread_over_the_hours() -> None:
    """Each of a day's messages at another time, so that every quarter of an hour has some."""
    earlier = "id * 7919 % 86400"
    on_sqlite = f"strftime('%Y-%m-%d %H:%M:%S.000000', received_at, '-' || ({earlier}) || ' seconds')"
    on_postgresql = f"received_at - ({earlier}) * interval '1 second'"
    with bulk_writing() as connection:
        at = on_sqlite if is_sqlite() else on_postgresql
        connection.execute(sa.text(f"UPDATE messages SET received_at = {at}"))


def _asking(portal: Portal) -> Callable[[str], None]:
    client = current_app.test_client(use_cookies=False)
    token = issue(Session(portal, "1", "en", "Europe/Berlin", is_admin=True))
    headers = {"Authorization": f"Bearer {token}", "HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    today = utcnow().date()
    half = int((utcnow() - timedelta(days=DAYS / 2)).timestamp() * 1e6)
    dates = {"first": today - timedelta(days=DAYS - 10), "last": today, "half": f"{half}-{2**40}"}

    def ask(path: str) -> None:
        if path.startswith("BULK "):
            do_many(dict(parse_qsl(path.removeprefix("BULK "))))
            return
        answer = client.get(path.format(**dates), headers=headers)
        assert answer.status_code == 200, f"{path}: {answer.status}"

    def do_many(form: dict[str, str]) -> None:
        asked = client.post("/ui/bulk", data={**form, "key": token_hex(8)}, headers=headers).text
        job = re.search(r"/ui/bulk/[0-9]+", asked)
        assert job is not None, asked
        for deed in ("start", "stop") if f"{job[0]}/start" in asked else ("stop",):
            assert client.post(f"{job[0]}/{deed}", headers=headers).status_code == 200

    return ask


def _processor_ms(deed: Callable[[], None], repeats: int) -> float:
    deed()  # templates and plans are made once in a process
    database = _database_pid()

    def used_s() -> float:
        return time.process_time() + (cpu_s(database) if database else 0.0)

    before = used_s()
    for _ in range(repeats):
        deed()
    return round((used_s() - before) / repeats * 1000, 1)


def _database_pid() -> int | None:
    """The server above all that serve us; None where the database is in this process."""
    if is_sqlite():
        return None
    with statement() as connection:
        serving = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
    fields = Path(f"/proc/{serving}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[1])
