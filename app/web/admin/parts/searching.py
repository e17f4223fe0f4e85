"""One box for whatever a person knows of a message: its number or a part of it, an id, a word of its text.

What was typed can mean several things; the first one that finds something is meant, and the page says which
one that was and offers the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.domain.numbers import Recipient, parse_recipient
from app.store.messages import log as message_log
from app.store.messages.log import Filters
from app.web.admin.frame import privacy, sessions
from app.web.admin.frame.document import ROW_LIMIT

_ROW = re.compile(r"#\s*([0-9]{1,19})")
_NUMBER = re.compile(r"[+0-9\s().\-/]+")
_ID = re.compile(r"[A-Za-z0-9_.:-]{3,128}")


@dataclass(frozen=True)
class Search:
    """`how` what was typed is understood: "row", "number", "id" or "text"; empty: nothing is searched for."""

    filters: Filters
    how: str = ""
    other_ways: tuple[str, ...] = ()


def find(portal_id: int, typed: str, how: str, narrowed: Filters) -> Search:
    """What is meant by `typed`; by `how`, where the person said so."""
    ways = list(_ways(typed, narrowed))
    found = next((each for each in ways if each.how == how), None) or _first_that_finds(portal_id, ways)
    if found is None:
        return Search(narrowed)
    others = dict.fromkeys(each.how for each in ways if each.how != found.how)
    return replace(found, other_ways=tuple(others))


def _first_that_finds(portal_id: int, ways: list[Search]) -> Search | None:
    for way in ways:
        if message_log.find(portal_id, way.filters, limit=1).messages:
            return way
    return ways[-1] if ways else None


def _ways(typed: str, narrowed: Filters) -> Iterator[Search]:
    if row := _ROW.fullmatch(typed):
        yield Search(replace(narrowed, row_id=min(int(row[1]), ROW_LIMIT)), "row")
        return
    if _NUMBER.fullmatch(typed) and privacy.may_search_numbers():
        yield from _numbers(typed, narrowed)
    if _ID.fullmatch(typed):
        yield Search(replace(narrowed, message_id=typed), "id")
    if typed and privacy.may_search_texts():
        yield Search(replace(narrowed, words=typed[:100]), "text")


def _numbers(typed: str, narrowed: Filters) -> Iterator[Search]:
    """A whole number is found at once, however old its messages are."""
    country = sessions.this().portal.settings.default_country or None
    read = parse_recipient(typed, default_country=country)
    if isinstance(read, Recipient):
        yield Search(replace(narrowed, recipient=read.number), "number")
    digits = re.sub(r"[^0-9]", "", typed)[-20:]
    if digits:
        # 0151 and 0049151 are ways to dial; the number itself is kept as +49151.
        yield Search(replace(narrowed, digits=digits.lstrip("0") or digits), "number")
