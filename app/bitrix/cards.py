"""CRM cards that a message belongs to: as the portal names them, and where it shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class CardKind(StrEnum):
    LEAD = "lead"
    DEAL = "deal"
    CONTACT = "contact"
    COMPANY = "company"
    ESTIMATE = "estimate"
    INVOICE = "invoice"
    ITEM = "item"  # of a smart process


@dataclass(frozen=True)
class Card:
    """A card and its path in the portal; a path that the frame's `openPath` takes, too."""

    kind: CardKind
    number: str
    path: str


# https://apidocs.bitrix24.com/api-reference/crm/data-types.html#object_type
_OWN_PAGES = {"1": CardKind.LEAD, "2": CardKind.DEAL, "3": CardKind.CONTACT, "4": CardKind.COMPANY}
_BY_TYPE = {"7": CardKind.ESTIMATE, "31": CardKind.INVOICE}
_FIRST_SMART_PROCESS = 128

# What a robot calls the card that it works for: DEAL_77, or DYNAMIC_128_5 for an item of a smart process.
_DOCUMENT = re.compile(r"(?:DYNAMIC_([0-9]{3,10})|([A-Z_]{4,20}))_([0-9]{1,18})")
_DOCUMENT_TYPES = {
    "LEAD": "1",
    "DEAL": "2",
    "CONTACT": "3",
    "COMPANY": "4",
    "QUOTE": "7",
    "SMART_INVOICE": "31",
}


def cards_of(bindings: Iterable[Mapping[str, str]]) -> list[Card]:
    """The cards of a message that have a page; other things that it may be bound to are left out."""
    return list(dict.fromkeys(_cards(bindings)))


def _cards(bindings: Iterable[Mapping[str, str]]) -> Iterator[Card]:
    for binding in bindings:
        owner, number = binding.get("OWNER_TYPE_ID", ""), binding.get("OWNER_ID", "")
        if not (_is_number(owner) and _is_number(number)):
            continue
        if kind := _OWN_PAGES.get(owner):
            yield Card(kind, number, f"/crm/{kind}/details/{number}/")
        elif owner in _BY_TYPE or int(owner) >= _FIRST_SMART_PROCESS:
            kind = _BY_TYPE.get(owner, CardKind.ITEM)
            yield Card(kind, number, f"/crm/type/{owner}/details/{number}/")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,17}", text) is not None


def binding_of_document(document_id: Mapping[str, Any]) -> dict[str, str] | None:
    """The same for a message of a robot or a workflow, which names its card as a document instead."""
    words = document_id.get("2")
    found = _DOCUMENT.fullmatch(words) if isinstance(words, str) else None
    if found is None or document_id.get("0") != "crm":
        return None
    smart_process, name, number = found.groups()
    owner = smart_process or _DOCUMENT_TYPES.get(name)
    return {"OWNER_TYPE_ID": owner, "OWNER_ID": number} if owner else None
