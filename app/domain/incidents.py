"""Troubles that last: what counts as one, and when it is worth telling people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

# A gateway that stumbles, or a portal that is updated, is back within a minute or so: nobody is woken for it.
LASTS_TO_BE_TOLD = timedelta(minutes=2)
# What comes and goes is one incident: it is over when it has stayed away for longer than it usually pauses.
AWAY_TO_BE_OVER = timedelta(minutes=5)
# One failed regular check may be the network's fault; the second, some minutes later, is not.
FAILED_CHECKS_TO_TELL = 2
# A day of so many times a portal's usual one is hardly meant: a loop in a robot, or somebody else's hands.
RUSH_TIMES = 10
RUSH_LEAST = 500  # messages in a day; less is cheap, and a small portal's days differ much
USUAL_DAYS = 7  # so many of the last days that had messages make the usual one


class IncidentKind(StrEnum):
    """A portal has at most one open incident of a kind, whatever its cause turns into meanwhile."""

    PORTAL = "portal"  # its installation does not stand well
    GATEWAY = "gateway"  # messages do not get out
    BALANCE = "balance"  # they soon will not
    RUSH = "rush"  # far more get out than usual


class GatewayCause(StrEnum):
    STOPPED = "stopped"  # it refuses the account: key or money
    SILENT = "silent"  # it gives no sensible answer
    CHECK = "check"  # sending was not tried lately, but the check fails


@dataclass(frozen=True)
class Symptom:
    """What is wrong at this moment, read from what we store anyway.

    `cause` is the portal's state or a `GatewayCause`. `words` are the gateway's own: for the pages, never
    for a notice, since nobody knows what a gateway puts into them.
    """

    portal_id: int
    kind: IncidentKind
    cause: str
    since: datetime | None  # None: nobody wrote down when it began
    gateway: str = ""  # its title
    words: str = ""
    balance: str = ""


def is_rush(today: int, days_before: Sequence[int]) -> bool:
    """Whether a day's messages are over ten times the usual. `days_before`: the newest first.

    A portal without earlier days has no usual one.
    """
    usual = [count for count in days_before if count > 0][:USUAL_DAYS]
    return bool(usual) and today >= RUSH_LEAST and today * len(usual) > RUSH_TIMES * sum(usual)


# "1,234.50" and "1.234,50" leave no doubt; "1,234" does, and counts as unknown.
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_COMMA_DECIMAL = re.compile(r"[+-]?[0-9]+,[0-9]{1,2}")
_ENGLISH = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+")
_GERMAN = re.compile(r"[+-]?[0-9]{1,3}(?:[.\s][0-9]{3})+,[0-9]+")
_CURRENCY = re.compile(r"^[^0-9+\-\u2212]{0,4}|[^0-9]{0,10}$")  # before or behind the number
_LONGEST = 40


def amount_of(text: str) -> Decimal | None:
    """The number in a gateway's word on the balance, or in a person's limit; None when it is not clear."""
    if len(text) > _LONGEST:
        return None
    number = _CURRENCY.sub("", text.strip())
    if _PLAIN.fullmatch(number):
        return Decimal(number)
    if _ENGLISH.fullmatch(number):
        return Decimal(number.replace(",", ""))
    if _COMMA_DECIMAL.fullmatch(number) or _GERMAN.fullmatch(number):
        return Decimal(re.sub(r"[.\s]", "", number).replace(",", "."))
    return None


def is_low(balance: str, limit: str) -> bool:
    """Whether a balance is surely below a limit; without a limit nothing is."""
    amount, least = amount_of(balance), amount_of(limit)
    return amount is not None and least is not None and amount < least
