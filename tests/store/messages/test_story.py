"""One message, one story: whoever has one of its numbers finds every line, and every command takes it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain import life
from app.domain.outcomes import DeliveryReport
from app.domain.status import MessageStatus
from app.services import services
from app.store.database import writing
from app.store.messages import messages, reports
from app.store.messages.rows import locked, state_of, write
from tests.worlds.portals import PortalWorld, portal_world


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    with portal_world(demo_gateway="full") as world:
        world.install()
        yield world


@pytest.fixture
def lines(world: PortalWorld) -> Iterator[io.StringIO]:
    """What goes to stderr, from the level INFO on."""
    root = logging.getLogger()
    handler: Any = root.handlers[0]
    before, stream = handler.stream, io.StringIO()
    level = root.level
    handler.setStream(stream)
    root.setLevel("INFO")
    yield stream
    handler.setStream(before)
    root.setLevel(level)


def story_of(lines: io.StringIO, message_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.getvalue().splitlines() if message_id in line]
    return [line for line in found if line["event"].startswith("message ")]


def _connect(world: PortalWorld) -> None:
    done = world.app.test_cli_runner().invoke(args=["gateways", "set", world.row.member_id, "demo"])
    assert done.exit_code == 0, done.output


def test_a_message_leaves_a_line_at_each_stop_and_all_name_it_in_both_ways(
    world: PortalWorld, lines: io.StringIO
) -> None:
    _connect(world)
    message_id = world.portal.send_sms(to="+4915112345677")["message_id"]
    world.work()
    for _ in range(3):
        world.sweep()

    story = story_of(lines, message_id)

    events = list(dict.fromkeys(line["event"] for line in story))
    assert events == ["message received", "message submitted", "message reported", "message told"]
    message = messages.find(world.row.id, message_id)
    assert message is not None
    names = {
        "member_id": world.row.member_id,
        "message_id": message_id,
        "install": world.row.id,
        "message_row": message.id,
    }
    for line in story:
        assert {name: line[name] for name in names} == names
        assert line["level"] == "info"
        assert "4915112345677" not in json.dumps(line)
    by_event = {line["event"]: line for line in story}
    assert by_event["message submitted"]["outcome"] == "accepted"
    assert by_event["message reported"]["report"] == "delivered"
    assert by_event["message told"]["told"] == "delivered"
    for args in ([str(message.id)], [str(world.row.id), message_id], [world.row.member_id, message_id]):
        shown = json.loads(
            world.app.test_cli_runner().invoke(args=["messages", "show", *args, "--json"]).stdout
        )
        assert (shown["message_id"], shown["number"]) == (message_id, message.id)
        assert shown["portal"] == world.row.member_id


def test_every_number_of_a_line_is_taken_by_a_command(world: PortalWorld, lines: io.StringIO) -> None:
    _connect(world)
    message_id = world.portal.send_sms(to="+4915112345603")["message_id"]
    world.work()
    line = next(each for each in story_of(lines, message_id) if each["event"] == "message submitted")
    run = world.app.test_cli_runner()

    portal = json.loads(run.invoke(args=["portals", "show", str(line["install"]), "--json"]).stdout)
    (account,) = json.loads(
        run.invoke(args=["gateways", "accounts", "--number", str(line["account"]), "--json"]).stdout
    )

    assert portal["member_id"] == line["member_id"]
    assert portal["install"] == line["install"]
    assert (account["gateway"], account["sends"]) == ("demo", True)
    assert line["outcome"] == "refused"
    assert run.invoke(args=["messages", "show", "999999"]).stderr == "no message has the number 999999\n"


def test_what_is_rolled_back_is_not_told(world: PortalWorld, lines: io.StringIO) -> None:
    message_id = world.message_that_fails()
    world.work()
    message = messages.find(world.row.id, message_id)
    assert message is not None
    before = lines.getvalue()

    with pytest.raises(RuntimeError), writing() as connection:
        row = locked(connection, message.id)
        assert row is not None
        now = services().now()
        write(connection, row, life.restored(state_of(row), "never", now, services().timing), now)
        raise RuntimeError("before the commit")
    with writing():
        pass

    assert lines.getvalue() == before


def test_a_report_of_nobodys_message_tells_no_story(world: PortalWorld, lines: io.StringIO) -> None:
    _connect(world)
    report = DeliveryReport(MessageStatus.DELIVERED, "DELIVRD", reference="nobody's")

    reports.apply_reports(1, [report], now=services().now(), timing=services().timing)

    assert "message reported" not in lines.getvalue()
