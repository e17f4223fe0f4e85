"""The statistics: every number from stored messages, in the person's days, shown as chart and as table."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
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
from app.store.tables import attempts, senders
from app.store.tables import messages as rows
from app.web.admin.parts import periods
from app.web.admin.parts.chart import Bar, chart, lines_up_to
from tests.worlds.visitor import Visitor


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
    assert 'class="bars' not in answer.text


def test_the_figures_are_those_of_the_messages(admin: Visitor) -> None:
    for delivery_ms in (2_000, 4_000, 6_000):
        _message(admin, status="delivered", delivery_ms=delivery_ms, segments=2)
    _message(admin, status="failed", reason="refused", segments=1)
    _message(admin, status="sent", segments=1)

    text = _text(admin)

    assert "5 Messages" in text
    assert "75% Delivered" in text
    assert "4 sec Half of them were delivered within" in text
    assert "6 sec 90% of them were delivered within" in text
    assert "8 Segments" in text
    assert "The gateway refused the message for good 1 100%" in text


def test_the_period_before_stands_beside_every_figure(admin: Visitor) -> None:
    now = services().now()
    for age, status in ((1, "delivered"), (8, "delivered"), (9, "failed"), (14, "failed")):
        _message(admin, status=status, delivery_ms=2_000, segments=1, received_at=now - timedelta(days=age))

    text = _text(admin)

    assert "1 Messages Before: 2" in text  # the third is older than the week before
    assert "100% Delivered Before: 50%" in text
    assert "2 sec Half of them were delivered within Before: 2 sec" in text
    assert "Delivered: 1 Previous period: 1" in text  # yesterday, and a week before yesterday


def test_messages_are_split_by_sender_and_by_who_sent_them(admin: Visitor) -> None:
    _message(admin, status="delivered", author_id="7", segments=2)
    _message(admin, status="failed", module_id="bizproc", sender_code="sms_2", segments=1)
    _message(admin, status="sent", module_id="bizproc", sender_code="sms_2", segments=1)

    text = _text(admin)

    assert "sms_2 2 0% 1 2" in text
    assert "sms 1 100% 0 2" in text
    assert "Automation rule or workflow 2 0% 1 2" in text
    assert "Employee 1 100% 0 2" in text


def test_every_bar_and_row_opens_its_messages_in_the_log(admin: Visitor) -> None:
    account = _account(admin, "demo")
    fits = {"module_id": "bizproc", "account_id": account, "sender_code": "sms_2"}
    with writing() as connection:
        connection.execute(
            senders.insert().values(portal_id=admin.portal.id, code="sms_2", name={}, description={})
        )
    row_id = _message(admin, status="failed", reason="refused", **fits)
    other_id = _message(admin, status="failed", reason="expired")

    page = admin.get("/ui/statistics?days=7").text

    links = {html.unescape(url) for url in re.findall(r'href="(/ui/messages\?[^"]+)"', page)}
    for filter_ in ("sender=sms_2", "author=robot", "gateway=demo", "reason=refused"):
        [link] = [url for url in links if url.endswith(filter_)]
        shown = admin.get(link).text
        assert [f'data-row="{each}"' in shown for each in (row_id, other_id)] == [True, False]
    assert len([url for url in links if url.count("&") == 2]) == 7  # the bars, by nothing but the day


@pytest.mark.parametrize(
    ("asked", "days", "bars"),
    [
        ("from=2026-03-01&to=2026-03-03", 3, 3),
        ("from=2026-03-03&to=2026-03-01", 3, 3),
        ("from=2026-03-01&to=2026-05-31", 92, 92),
        ("from=2026-03-01&to=2026-06-01", 93, 14),  # weeks
        ("from=1000-01-01&to=2026-03-01", 366, 53),
        ("from=2026-02-31", 30, 30),
        ("to=2026-03-01", 30, 30),
        ("from=x&to=", 30, 30),
    ],
)
def test_ones_own_dates(admin: Visitor, asked: str, days: int, bars: int) -> None:
    for age in (0, 180, 200, 240, 260, 270):
        at = datetime(2026, 11, 20, 12, tzinfo=UTC) - timedelta(days=age)
        _message(admin, status="delivered", received_at=at)

    read = periods.read(dict(parse_qsl(asked)), datetime(2026, 11, 20, 12, tzinfo=UTC))
    page = admin.get(f"/ui/statistics?{asked}").text

    with admin.app.test_request_context():
        assert read.days == days
    assert page.count('class="at"') in (0, *range(1, 8))
    assert len(read.parts()) == bars


def test_no_day_lies_in_the_future(admin: Visitor) -> None:
    read = periods.read({"from": "2026-11-19", "to": "2099-01-01"}, datetime(2026, 11, 20, 12, tzinfo=UTC))

    assert (read.first, read.last) == (date(2026, 11, 19), date(2026, 11, 20))


@pytest.mark.parametrize("table", ["days", "senders", "authors", "gateways", "reasons"])
def test_each_table_is_a_file_with_the_same_numbers(admin: Visitor, table: str) -> None:
    account = _account(admin, "demo")
    _message(admin, status="delivered", account_id=account, segments=2, author_id="7")
    _message(admin, status="failed", reason="refused", account_id=account, sender_code="=1+1")

    page = admin.get("/ui/statistics?days=7").text
    [link] = re.findall(rf'href="(/ui/statistics/{table}\.csv[^"]*)"', page)
    answer = admin.get(html.unescape(link))

    assert answer.mimetype == "text/csv"
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows[0][1] == "Messages"
    wanted = {
        "days": (8, "2"),
        "senders": (3, "1"),
        "authors": (3, "1"),
        "gateways": (2, "2"),
        "reasons": (2, "1"),
    }
    assert (len(rows), rows[1][1]) == wanted[table]
    assert not [cell for row in rows for cell in row if cell.startswith("=")]


def test_a_share_in_a_file_is_a_number_as_the_person_writes_it(admin: Visitor) -> None:
    for status in ("delivered", "delivered", "failed"):
        _message(admin, status=status)
    opening = admin.opening("/app", lang="de")
    admin.post("/app", opening)

    text = admin.get("/ui/statistics/senders.csv").text

    assert text.splitlines()[1] == '"sms";"3";"0,6667";"1";"0"'


def test_a_table_that_is_none_is_not_found(admin: Visitor) -> None:
    assert admin.get("/ui/statistics/secrets.csv").status_code == 404


@pytest.mark.parametrize("days", [7, 30, 90])
def test_a_period_holds_its_days_and_no_other(admin: Visitor, days: int) -> None:
    now = services().now()
    for age in (0, days - 1, days, days + 1):
        _message(admin, status="delivered", received_at=now - timedelta(days=age))

    answer = admin.get(f"/ui/statistics?days={days}")

    assert '<b><bdi dir="ltr">2</bdi></b><span>Messages</span>' in answer.text
    assert answer.text.count('class="tip"') == days
    assert answer.text.partition("<details>")[2].partition("</details>")[0].count('<th scope="row"') == days
    assert answer.text.count("so far") == 2  # the bar and the row
    assert re.search(rf'days={days}"[^>]*aria-current="page"', answer.text)


def test_an_odd_period_is_the_usual_one(admin: Visitor) -> None:
    _message(admin)

    for odd in ("", "x", "8", "-1", "999999999999"):
        assert admin.get(f"/ui/statistics?days={odd}").text.count('class="tip"') == 30


def test_days_are_counted_in_the_persons_time_zone(admin: Visitor) -> None:
    zone = ZoneInfo("Europe/Berlin")  # the sandbox's administrator lives there
    midnight = datetime.combine(services().now().astimezone(zone).date(), datetime.min.time(), zone)
    _message(admin, status="delivered", received_at=midnight.astimezone(UTC))
    _message(admin, status="failed", received_at=(midnight - timedelta(microseconds=1)).astimezone(UTC))

    table = admin.get("/ui/statistics?days=7").text.partition("<tbody>")[2]

    today, yesterday = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[:2]
    assert re.findall(r">(\d+)</bdi></td>", today) == ["1", "1", "0", "0", "0", "0"]
    assert re.findall(r">(\d+)</bdi></td>", yesterday) == ["1", "0", "0", "0", "1", "0"]


def test_gateways_are_compared(admin: Visitor) -> None:
    demo, http = _account(admin, "demo"), _account(admin, "http")
    _message(admin, status="delivered", account_id=demo)
    _message(admin, status="delivered", account_id=demo)
    _message(admin, status="undelivered", account_id=demo)
    _message(admin, status="failed", account_id=http)
    _message(admin, status="queued")

    text = _text(admin)

    assert "Try without sending 3 66.7% 1" in text
    assert "Any HTTP gateway 1 0% 1" in text
    assert "Not handed to a gateway 1 – 0" in text


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


def test_the_lines_of_a_chart_are_round_and_reach_the_highest_bar() -> None:
    assert lines_up_to(0) == [0, 1]
    assert lines_up_to(3) == [0, 1, 2, 3]
    assert lines_up_to(17) == [0, 5, 10, 15, 20]
    assert lines_up_to(1_234) == [0, 500, 1_000, 1_500]
    for highest in range(1, 3_000):
        lines = lines_up_to(highest)
        assert lines[-2] < highest <= lines[-1]
        assert len(lines) <= 5


def test_a_bar_is_as_high_as_its_number_and_the_period_before_is_marked() -> None:
    [column] = chart([Bar("1", "a day", [], [("ok", 3), ("bad", 1)], "/", before=2)], title="t").columns

    assert [(piece.colour, piece.top, piece.height) for piece in column.pieces] == [
        ("ok", 25.0, 75.0),
        ("bad", 0.0, 25.0),
    ]
    assert column.before_at == 50.0


def test_a_chart_of_nothing_is_drawn() -> None:
    assert chart([Bar("1", "a day", [], [("ok", 0)], "/")], title="nothing").columns[0].pieces == []
    assert chart([], title="nothing").columns == []


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
