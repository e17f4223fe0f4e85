"""The ladder: any order of the same reports ends in the same word."""

from __future__ import annotations

from functools import reduce
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.status import MessageStatus, advance, aggregate, word_for_portal

_LADDER = ["queued", "unknown", "sent", "undelivered", "failed", "delivered"]
statuses = st.sampled_from(MessageStatus)


def test_order_of_the_ladder() -> None:
    assert sorted(MessageStatus, key=lambda status: status.rank) == _LADDER
    assert [status for status in MessageStatus if status.is_final] == _LADDER[3:]


@given(statuses, st.lists(statuses, max_size=6), st.randoms())
def test_any_order_and_any_repetition_ends_the_same(
    start: MessageStatus, heard: list[MessageStatus], random
) -> None:  # type: ignore[no-untyped-def]
    shuffled = heard + [random.choice(heard) for _ in heard]
    random.shuffle(shuffled)

    assert reduce(advance, heard, start) == reduce(advance, shuffled, start)


@given(statuses, statuses)
def test_a_status_never_goes_down(current: MessageStatus, heard: MessageStatus) -> None:
    assert advance(current, heard).rank >= current.rank
    assert advance(current, heard) in (current, heard)


def test_all_orders_of_a_whole_life() -> None:
    for order in permutations(MessageStatus):
        assert reduce(advance, order) is MessageStatus.DELIVERED


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("delivered", "delivered"),
        ("delivered delivered", "delivered"),
        ("delivered sent", "sent"),
        ("delivered queued", "queued"),
        ("delivered unknown sent", "unknown"),
        ("delivered undelivered", "undelivered"),
        ("undelivered failed delivered", "failed"),
        ("sent failed", "failed"),
        ("sent undelivered", "undelivered"),
        ("unknown undelivered delivered", "undelivered"),
    ],
)
def test_parts_of_one_message(parts: str, whole: str) -> None:
    assert aggregate(MessageStatus(word) for word in parts.split()) == whole


@given(st.lists(statuses, min_size=1), st.randoms())
def test_order_of_parts_does_not_matter(parts: list[MessageStatus], random: Random) -> None:
    shuffled = random.sample(parts, len(parts))

    assert aggregate(parts) == aggregate(shuffled)


@pytest.mark.parametrize(
    ("status", "told", "is_resend", "word"),
    [
        ("queued", None, False, None),
        ("queued", None, True, "queued"),
        ("queued", "failed", True, "queued"),
        ("queued", "queued", True, None),
        ("sent", None, False, None),
        ("sent", "queued", True, "sent"),
        ("sent", "sent", False, None),
        ("delivered", None, False, "delivered"),
        ("delivered", "failed", False, "delivered"),
        ("delivered", "delivered", False, None),
        ("failed", None, False, "failed"),
        ("undelivered", "sent", False, "undelivered"),
    ],
)
def test_what_the_portal_is_told(status: str, told: str | None, is_resend: bool, word: str | None) -> None:
    told_status = MessageStatus(told) if told else None

    assert word_for_portal(MessageStatus(status), told=told_status, is_resend=is_resend) == word


@given(st.none() | statuses, st.booleans())
def test_unknown_is_never_told(told: MessageStatus | None, is_resend: bool) -> None:
    assert word_for_portal(MessageStatus.UNKNOWN, told=told, is_resend=is_resend) is None
