"""What a full database costs: the same deeds beside few messages and beside very many.

In this process, so that nothing but the database differs. `ROWS=10000000 make bench BENCH=growth` fills it
with ten million.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.domain.portals import Portal
from app.gateway_accounts import connect
from app.services import services
from app.store.accounts.accounts import Account
from app.store.database import is_sqlite, statement, utcnow, writing
from app.store.database.deadlines import within
from app.store.figures import counts, statistics
from app.store.figures.statistics import Span
from app.store.messages import log as message_log
from app.store.portals import portals
from app.store.tables import attempts, messages
from bench.rows import PATIENCE_S, bulk_writing, fill
from bench.sections import Section, share_of, table
from bench.worlds import MODES, a_portal, product_on
from sandbox.gateway_client import STATUS_MAP

FEW = 1_000


def measure(*, short: bool) -> Section:
    many = 3_000 if short else int(os.environ.get("ROWS") or 100_000)
    repeats = 20 if short else 200
    figures = {mode: _measure(mode, many, repeats) for mode in (MODES[:1] if short else MODES)}
    rows = [
        [f"{mode}: {deed}", *before, *after, after[1] / max(before[1], 0.1)]
        for mode, (few, full) in figures.items()
        for deed, before in few.items()
        for after in [full[deed]]
    ]
    return Section(
        title="Growth",
        text=f"Each deed {repeats} times beside {FEW:,} messages and beside {many:,} of one portal, all of"
        " the last 30 days, each with its attempt. Milliseconds; the ratio is that of the slowest hundredth.",
        table=table(["", "p50", "p99", "p50, many", "p99, many", "ratio"], rows),
        figures=figures,
    )


Times = dict[str, tuple[float, float]]


def _measure(mode: str, many: int, repeats: int) -> tuple[Times, Times]:
    with product_on(mode):
        services().engine.hint = lambda *_, **__: True  # type: ignore[method-assign]
        portal = a_portal()
        account = _account(portal)
        _fill(portal, account, "few", FEW)
        _count()
        few = _deeds(portal, account, "few", repeats)
        _fill(portal, account, "many", many)
        _count()
        analyze()
        return few, _deeds(portal, account, "many", repeats)


def _account(portal: Portal) -> Account:
    settings = {
        "url": "https://gateway.example.com/v1/messages",
        "template": json.dumps({"to": "{to}", "text": "{text}", "reference": "{reference}"}),
        "report_reference_path": "reference",
        "report_status_path": "status",
        "status_map": json.dumps(STATUS_MAP),
    }
    adapter = services().gateways.get("http")
    assert adapter is not None
    return connect(portal, adapter, settings, allow_private=True, now=utcnow())


def _fill(portal: Portal, account: Account, prefix: str, count: int) -> None:
    """Spread over the last 30 days; nine of ten delivered, the others still wait for their report."""
    now = utcnow()
    for day in range(30):
        at = now - timedelta(days=day, hours=1)
        some = {"received_at": at, "account_id": account.id, "segments": 1, "attempts": 1}
        fill(portal, count * 9 // 300, prefix=f"{prefix}-d{day}", delivery_ms=4_000, **some)
        waiting = {"status": "sent", "work": "waiting", "due_at": now + timedelta(days=2)}
        fill(
            portal, count // 300, prefix=f"{prefix}-w{day}", deadline_at=waiting["due_at"], **some, **waiting
        )
    with bulk_writing() as connection:
        mine = messages.c.message_id.startswith(prefix)
        reference = sa.literal("r").concat(sa.cast(messages.c.id, sa.String))
        row: dict[str, Any] = {
            "message_row_id": messages.c.id,
            "number": sa.literal(1),
            "account_id": messages.c.account_id,
            "gateway": sa.literal("http"),
            "reference": reference,
            "calls": sa.literal(1),
            "started_at": messages.c.received_at,
            "outcome": sa.literal("accepted"),
        }
        made = sa.select(*(value.label(name) for name, value in row.items())).where(mine)
        connection.execute(sa.insert(attempts).from_select(list(row), made))
        attempt = sa.select(attempts.c.id).where(attempts.c.message_row_id == messages.c.id)
        waiting = sa.update(messages).where(mine, messages.c.work == "waiting")
        connection.execute(waiting.values(attempt_id=attempt.scalar_subquery()))


def _count() -> None:
    """What the sweeper does."""
    while counts.fold(now=utcnow() + timedelta(days=1), limit=2_000):
        pass


def analyze() -> None:
    """What the database's own upkeep does in time."""
    with within(PATIENCE_S), statement() as connection:
        if is_sqlite():
            connection.execute(sa.text("ANALYZE"))
            return
        connection.execute(sa.text("SET statement_timeout = 0"))
        connection.execute(sa.text("VACUUM ANALYZE"))
        connection.execute(sa.text("RESET statement_timeout"))


def _deeds(portal: Portal, account: Account, prefix: str, repeats: int) -> Times:
    client = current_app.test_client()
    secret = portals.handler_secret(portal.id)
    with writing() as connection:
        waiting = connection.execute(
            sa.select(attempts.c.reference)
            .join(messages, messages.c.attempt_id == attempts.c.id)
            .where(messages.c.work == "waiting", messages.c.message_id.startswith(prefix))
            .limit(repeats)
        )
        references = iter([reference for (reference,) in waiting] * repeats)
    report_path = services().report_url(account).removeprefix(services().config.public_url)
    now = utcnow()
    month = Span(now - timedelta(days=30), now)
    days = [Span(now - timedelta(days=n + 1), now - timedelta(days=n)) for n in range(30)]

    def handler(number: int) -> None:
        form = {
            "code": "sms",
            "type": "SMS",
            "message_id": f"{prefix}-new-{number}",
            "ts": str(int(time.time())),
        }
        form |= {"message_to": "+4915112345678", "message_body": "hello"}
        assert client.post(f"/sms/{secret}", data=form).status_code == 200

    def report(_: int) -> None:
        body = {"reference": next(references), "status": "DELIVRD"}
        assert client.post(report_path, json=body).status_code == 200

    return {
        "HANDLER": _times(handler, repeats),
        "report": _times(report, repeats),
        "first page of the log": _times(lambda _: message_log.page(portal.id, limit=50), repeats),
        "statistics of 30 days": _times(
            lambda _: (statistics.tallies(portal.id, days), statistics.reasons(portal.id, month)),
            max(3, repeats // 20),
        ),
    }


def _times(deed: Callable[[int], Any], repeats: int) -> tuple[float, float]:
    waits = []
    for number in range(repeats):
        began = time.perf_counter()
        deed(number)
        waits.append((time.perf_counter() - began) * 1000)
    waits.sort()
    return share_of(waits, 0.5), share_of(waits, 0.99)
