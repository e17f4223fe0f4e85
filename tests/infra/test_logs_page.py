"""docs/logs.md has every line that the product writes into its log, with its level and its fields."""

from __future__ import annotations

import re

import pytest

from tests.infra.log_calls import LEVELS, PROJECT, LogCall, log_calls

CALLS = [call for call in log_calls() if call.event]
STORY = ("message received", "message submitted", "message reported", "message told", "message changed")


def _page() -> dict[str, tuple[set[str], set[str]]]:
    """Event -> its levels and fields."""
    text = (PROJECT / "docs/logs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|`]+?) \| ([a-z, ]+) \| ([^|]*) \| [^|]+ \|$", text, flags=re.MULTILINE)
    return {
        event: (set(levels.split(", ")), set(re.findall(r"`([a-z_]+)`", fields)))
        for event, levels, fields in rows
        if set(levels.split(", ")) <= set(LEVELS)
    }


def test_every_event_of_the_code_is_on_the_page_with_its_level_and_fields() -> None:
    page, missing = _page(), []
    for call in CALLS:
        levels, fields = page.get(call.event, (set(), set()))
        level = "error" if call.level == "exception" else call.level
        if level not in levels or not call.fields <= fields:
            missing.append(f"{call.place}: | {call.event} | {level} | {', '.join(sorted(call.fields))} |")

    assert missing == [], "docs/logs.md needs these rows, with what they mean"


def test_the_page_has_no_event_that_is_gone() -> None:
    assert set(_page()) - {call.event for call in CALLS} == set()


@pytest.mark.parametrize("event", STORY)
def test_each_line_of_the_story_names_message_and_portal_in_both_ways(event: str) -> None:
    mine = [call for call in CALLS if call.event == event]

    assert mine
    for call in mine:
        assert {"member_id", "message_id", "install", "message_row"} <= call.fields


def test_fields_are_found_however_a_line_is_written() -> None:
    by_event = {call.event: call for call in CALLS}

    assert by_event["report not taken"].fields == {"install", "gateway", "why"}  # by a name
    assert by_event["message told"].fields >= {"told", "member_id"}  # by a function
    assert all(isinstance(call, LogCall) and "..." not in call.fields for call in CALLS)
