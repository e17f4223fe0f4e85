"""What a full database costs: the same deeds beside few messages and beside very many.

In this process, so that nothing but the database differs. `ROWS=10000000 make bench BENCH=growth` fills it
with ten million (about 12 GB of disk for each database), and `MODE=SQLite` does one alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.domain.delivery_times import tenths_of
from app.domain.messages import Author, Message
from app.domain.numbers import Recipient
from app.domain.policy import Send
from app.domain.portals import Portal
from app.domain.texts import measure as measure_text
from app.gateway_accounts import connect
from app.services import services
from app.store.accounts.accounts import Account
from app.store.database import is_sqlite, statement, utcnow, writing
from app.store.database.deadlines import within
from app.store.database.many import insert_many, update_many
from app.store.figures import counts, operations, overview, statistics
from app.store.figures.statistics import Span
from app.store.messages import claims
from app.store.messages import log as message_log
from app.store.messages import messages as messages_store
from app.store.messages.claims import Ruling, Sending
from app.store.portals import portals
from app.store.tables import attempts, delivery_counts, message_counts, messages, split_counts
from bench.rows import PATIENCE_S, bulk_writing, fill, without_indexes
from bench.sections import Section, share_of, table
from bench.worlds import MODES, a_portal, product_on
from sandbox.gateway_client import STATUS_MAP

FEW = 1_000


def measure(*, short: bool) -> Section:
    many = 3_000 if short else int(os.environ.get("ROWS") or 100_000)
    repeats = 20 if short else 200
    modes = MODES[:1] if short else [mode for mode in MODES if mode in os.environ.get("MODE", mode)]
    figures = {mode: _measure(mode, many, repeats) for mode in modes}
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
        _fill(portal, account, "few", FEW, hours=1)
        few = _deeds(portal, account, "few", repeats)
        with without_indexes():
            _fill(portal, account, "many", many, hours=2)
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


def _fill(portal: Portal, account: Account, prefix: str, count: int, *, hours: int) -> None:
    """Spread over the last 30 days, counted; nine of ten delivered, the others wait for a report."""
    now = utcnow()
    for day in range(30):
        at = now - timedelta(days=day, hours=hours)
        of_day = {"received_at": at, "account_id": account.id, "segments": 1, "attempts": 1}
        later = now + timedelta(days=2)
        ended = {"status": "delivered", "delivery_ms": 4_000}
        waiting = {"status": "sent", "work": "waiting", "due_at": later, "deadline_at": later}
        for share, name, more in ((9, "d", ended), (1, "w", waiting)):
            some = count * share // 300
            values = {**of_day, **more, **_counted(portal, account, at, some, more)}
            fill(portal, some, prefix=f"{prefix}-{name}{day}", **values)
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
    with bulk_writing() as connection:
        # Only those that a report of the benchmark will look for.
        some_waiting = sa.select(messages.c.id).where(mine, messages.c.work == "waiting").limit(2_000)
        waiting_ids = connection.scalars(some_waiting).all()
        of_message = attempts.c.message_row_id.in_(waiting_ids)
        found = connection.execute(sa.select(attempts.c.id, attempts.c.message_row_id).where(of_message))
        update_many(connection, messages, [{"id": row_id, "attempt_id": each} for each, row_id in found])


def _counted(
    portal: Portal, account: Account, at: datetime, count: int, kind: Mapping[str, Any]
) -> dict[str, Any]:
    """Add to the counts what the sweeper would, and what the rows say then."""
    status, took = kind["status"], kind.get("delivery_ms", -1)
    delivered = count if status == "delivered" else 0
    of = {"portal_id": portal.id, "quarter": counts.quarter_of(at), "count": count}
    by_kind = {**of, "status": status, "account_id": account.id, "reason": "", "segments": count}
    split = {**of, "segments": count, "delivered": delivered, "failed": 0}
    splits = ({"split": "sender", "value": "sms"}, {"split": "author", "value": Author.of("portal", "", "")})
    with writing() as connection:
        insert_many(connection, message_counts, [by_kind])
        if delivered:
            insert_many(connection, delivery_counts, [{**of, "tenths": tenths_of(took)}])
            insert_many(connection, split_counts, [{**split, **each} for each in splits])
    return {"counted_as": f"{status} {account.id} 1 {took} ", "split_as": f"{status} 1"}


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

    def claim(_: int) -> None:
        taken = claims.take(sending, rule, limit=1, now=utcnow(), timing=services().timing)
        assert len(taken.claims) == 1

    def rule(message: Message) -> Ruling:
        return Ruling(Send(Recipient(message.recipient, "DE")), measure_text(message.text))

    sending = Sending(portal.id, account.id, account.slug, is_default=True)
    return {
        "HANDLER": _times(handler, repeats),
        "claim": _times(claim, repeats),
        "report": _times(report, repeats),
        "first page of the log": _times(lambda _: message_log.page(portal.id, limit=50), repeats),
        "statistics of 30 days": _times(
            lambda _: (statistics.tallies(portal.id, days), statistics.splits(portal.id, month)),
            max(3, repeats // 20),
        ),
        "what waits, for the overview": _times(lambda _: overview.waits(portal.id), repeats),
        "gauges of /metrics": _times(
            lambda _: (messages_store.backlog(), operations.attention(), operations.oldest_due_s(utcnow())),
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
