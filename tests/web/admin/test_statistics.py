"""The statistics: every number from stored messages, in the person's days, shown as chart and as table."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.domain.delivery_times import time_within
from app.domain.outcomes import DeliveryReport
from app.domain.status import MessageStatus
from app.services import services
from app.store.accounts import accounts
from app.store.database import writing
from app.store.figures import statistics
from app.store.figures.statistics import Span
from app.store.messages import messages, reports
from app.store.tables import attempts
from app.store.tables import messages as rows
from app.web.admin.parts.chart import Bar, stacked_bars
from tests.web.visitor import Visitor


def _message(admin: Visitor, **values: Any) -> int:
    message = admin.message()
    with writing() as connection:
        connection.execute(
            rows.update().where(rows.c.id == message.id).values(message_id=f"m{message.id}", **values)
        )
    return message.id


def _account(admin: Visitor, slug: str) -> int:
    portal = admin.portal
    connected = accounts.connect(
        portal.id, portal.member_id, slug, label=slug, public={}, secrets={}, now=services().now()
    )
    return connected.id


def _text(admin: Visitor, days: int = 7) -> str:
    """The page with its tags and line ends taken out."""
    answer = admin.get(f"/ui/statistics?days={days}")
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())


def test_no_messages_lead_to_the_test_page(admin: Visitor) -> None:
    answer = admin.get("/ui/statistics")

    assert answer.status_code == 200
    assert "No messages in this period" in answer.text
    assert '<svg class="chart"' not in answer.text


def test_the_figures_are_those_of_the_messages(admin: Visitor) -> None:
    for delivery_ms in (2_000, 4_000, 6_000):
        _message(admin, status="delivered", delivery_ms=delivery_ms, segments=2)
    _message(admin, status="failed", reason="refused", segments=1)
    _message(admin, status="sent", segments=1)

    text = _text(admin)

    assert "5 Messages" in text
    assert "75% Delivered, of those whose end is known" in text
    assert "4 sec Half were delivered within" in text
    assert "6 sec Nine of ten were delivered within" in text
    assert "8 Segments" in text
    assert "The gateway refused the message for good 1 100%" in text


@pytest.mark.parametrize("days", [7, 30, 90])
def test_a_period_holds_its_days_and_no_other(admin: Visitor, days: int) -> None:
    now = services().now()
    for age in (0, days - 1, days, days + 1):
        _message(admin, status="delivered", received_at=now - timedelta(days=age))

    answer = admin.get(f"/ui/statistics?days={days}")

    assert '<b><bdi dir="ltr">2</bdi></b><span>Messages</span>' in answer.text
    assert answer.text.count("<g") == days
    assert answer.text.count('<th scope="row">') == days
    assert answer.text.count("so far") >= 2
    assert re.search(rf'days={days}"[^>]*aria-current="page"', answer.text)


def test_an_odd_period_is_the_usual_one(admin: Visitor) -> None:
    _message(admin)

    for odd in ("", "x", "8", "-1", "999999999999"):
        assert admin.get(f"/ui/statistics?days={odd}").text.count('<th scope="row">') == 30


def test_days_are_counted_in_the_persons_time_zone(admin: Visitor) -> None:
    zone = ZoneInfo("Europe/Berlin")  # the sandbox's administrator lives there
    midnight = datetime.combine(services().now().astimezone(zone).date(), datetime.min.time(), zone)
    _message(admin, status="delivered", received_at=midnight.astimezone(UTC))
    _message(admin, status="failed", received_at=(midnight - timedelta(microseconds=1)).astimezone(UTC))

    table = admin.get("/ui/statistics?days=7").text.partition("<tbody>")[2]

    today, yesterday = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[:2]
    assert re.findall(r'class="num">(\d+)<', today) == ["1", "0", "0", "0"]
    assert re.findall(r'class="num">(\d+)<', yesterday) == ["0", "0", "0", "1"]


def test_gateways_are_compared(admin: Visitor) -> None:
    demo, http = _account(admin, "demo"), _account(admin, "http")
    _message(admin, status="delivered", account_id=demo)
    _message(admin, status="delivered", account_id=demo)
    _message(admin, status="undelivered", account_id=demo)
    _message(admin, status="failed", account_id=http)
    _message(admin, status="queued")

    text = _text(admin)

    assert "Try without sending 3 66.7%" in text
    assert "Any HTTP gateway 1 0%" in text
    assert "Not handed to a gateway 1 –" in text


def test_what_was_spent_is_summed_by_currency(admin: Visitor) -> None:
    account, row_id = _account(admin, "twilio"), _message(admin)
    words = ["-0.00750 USD", "-0.00750 USD", "0.05 EUR", "a gift"]
    with writing() as connection:
        for place, cost in enumerate(words):
            connection.execute(
                attempts.insert().values(
                    message_row_id=row_id,
                    number=1,
                    account_id=account,
                    gateway="twilio",
                    calls=1,
                    reference=f"c{account}-{place}",
                    started_at=services().now(),
                    cost=cost,
                )
            )

    text = _text(admin)

    assert "€0.05 Spent" in text
    assert "$0.015 Spent" in text


def test_another_portals_messages_are_not_counted(admin: Visitor, stranger: Visitor) -> None:
    _message(stranger, status="failed", reason="refused", account_id=_account(stranger, "demo"))

    assert "No messages in this period" in _text(admin)
    assert "1 Messages" in _text(stranger)


def test_a_chart_escapes_every_label() -> None:
    hostile = "\"><script>alert('x')</script>"

    drawn = stacked_bars([Bar(hostile, [(hostile, 1)], is_partial=True)], title=hostile)

    assert "<script>" not in drawn
    assert drawn.count("<title>") == 2


def test_a_chart_of_nothing_is_drawn() -> None:
    assert "<rect" not in stacked_bars([Bar("a day", [("ok", 0)])], title="nothing")
    assert stacked_bars([], title="nothing").startswith("<svg")


@pytest.mark.parametrize(
    ("seen", "share", "found"),
    [({}, 0.5, None), ({3.0: 1}, 0.9, 3.0), ({1.0: 5, 9.0: 5}, 0.5, 1.0), ({1.0: 5, 9.0: 5}, 0.51, 9.0)],
)
def test_the_time_of_a_share(seen: dict[float, int], share: float, found: float | None) -> None:
    assert time_within(seen, share) == found


# --- how long a delivery took


def _reported(
    admin: Visitor, status: MessageStatus, *, after: timedelta, is_resend: bool = False
) -> int | None:
    account, row_id = (
        _account(admin, "demo"),
        _message(admin, status="sent", work="waiting", is_resend=is_resend),
    )
    with writing() as connection:
        attempt_id = connection.scalar(
            attempts.insert()
            .values(
                message_row_id=row_id,
                number=1,
                account_id=account,
                gateway="demo",
                calls=1,
                reference=f"t{row_id}",
                started_at=services().now(),
                outcome="accepted",
            )
            .returning(attempts.c.id)
        )
        connection.execute(rows.update().where(rows.c.id == row_id).values(attempt_id=attempt_id))
    received = messages.by_row(admin.portal.id, row_id)
    assert received is not None
    report = DeliveryReport(status=status, raw_status=status.value, reference=f"t{row_id}")
    for times in (1, 2):  # a repeat changes nothing
        reports.apply_reports(
            account, [report], now=received.received_at + after * times, timing=services().timing
        )
    with writing() as connection:
        found: int | None = connection.scalar(
            rows.select().with_only_columns(rows.c.delivery_ms).where(rows.c.id == row_id)
        )
    return found


def test_a_delivery_is_timed_from_its_receipt(admin: Visitor) -> None:
    assert _reported(admin, MessageStatus.DELIVERED, after=timedelta(seconds=4.25)) == 4250
    assert _reported(admin, MessageStatus.FAILED, after=timedelta(seconds=4)) is None
    assert _reported(admin, MessageStatus.DELIVERED, after=timedelta(seconds=4), is_resend=True) is None


def test_times_are_read_in_tenths_of_a_second(admin: Visitor) -> None:
    now = services().now()
    for delivery_ms in (4_240, 4_280, 99):
        _message(admin, status="delivered", delivery_ms=delivery_ms)

    found = statistics.delivery_times(
        admin.portal.id, Span(now - timedelta(hours=1), now + timedelta(hours=1))
    )

    assert found == {4.2: 2, 0.0: 1}
