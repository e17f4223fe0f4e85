"""The status of a message: one ladder, climbed by every word that we hear about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class MessageStatus(StrEnum):
    """What is known about a message, in ascending order of weight.

    The order is total, so any order of the same reports ends in the same word, and a real late
    `delivered` corrects a failure. `UNKNOWN` is ours alone: the portal never hears it.
    """

    QUEUED = "queued"
    UNKNOWN = "unknown"
    SENT = "sent"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    DELIVERED = "delivered"

    @property
    def rank(self) -> int:
        return _RANK[self]

    @property
    def is_final(self) -> bool:
        return self in FINAL


_RANK = {status: rank for rank, status in enumerate(MessageStatus)}
BAD = (MessageStatus.UNDELIVERED, MessageStatus.FAILED)  # the ends at which nothing has arrived
FINAL = frozenset({*BAD, MessageStatus.DELIVERED})


def advance(current: MessageStatus, heard: MessageStatus) -> MessageStatus:
    """The status after `heard`: it only moves up the ladder."""
    return heard if heard.rank > current.rank else current


def aggregate(parts: Iterable[MessageStatus]) -> MessageStatus:
    """One word for a message that the gateway carries and reports in several parts.

    Delivered when all parts are; failed (or undelivered) as soon as one part is; else as far as the
    part that has come least far, where a delivered part counts as sent.
    """
    statuses = list(parts)
    if all(status is MessageStatus.DELIVERED for status in statuses):
        return MessageStatus.DELIVERED
    for bad in (MessageStatus.FAILED, MessageStatus.UNDELIVERED):
        if bad in statuses:
            return bad
    open_parts = [s for s in statuses if s is not MessageStatus.DELIVERED]
    return min(open_parts, key=lambda status: status.rank)


def word_for_portal(
    status: MessageStatus, *, told: MessageStatus | None, is_resend: bool
) -> MessageStatus | None:
    """What the portal has to be told now, or None when it already shows the truth.

    The portal writes "sent" by itself when it hands a message over, so `sent` is told only to correct
    a word that was told before, and `queued` only once, after a person asked for a resend.
    `unknown` is never told: any word for it would be a guess.
    """
    if status == told:
        return None
    if status.is_final:
        return status
    if status is MessageStatus.SENT and told is not None:
        return status
    if status is MessageStatus.QUEUED and is_resend:
        return status
    return None
