"""What of a message this session may see: the only place that decides it for every page.

Lists mask numbers unless the settings say otherwise; the page of one message shows its number in full, so
that an administrator can tell two cases apart. Other employees see masked numbers only, also in what a
gateway said, and can search for none: a search by parts would spell a masked number out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from app.domain.messages import Message, TimelineEntry
from app.domain.numbers import mask, written_forms
from app.web.admin.frame import sessions


def number_in_list(number: str) -> str:
    return mask(number) if are_numbers_masked() else number


def are_numbers_masked() -> bool:
    """Whether lists mask numbers for this session."""
    session = sessions.this()
    return session.portal.settings.mask_numbers or not session.is_admin


def may_search_numbers() -> bool:
    return sessions.this().is_admin


def exported(batches: Iterable[list[Message]]) -> Iterator[list[Message]]:
    """The messages of a file for an administrator: numbers in full, texts as everywhere."""
    for batch in batches:
        yield [shown(message) for message in batch]


def shown(message: Message) -> Message:
    """The message as its own page shows it."""
    session = sessions.this()
    if session.portal.settings.hide_texts:
        message = replace(message, text="")
    if session.is_admin:
        return message
    return replace(
        message,
        recipient=mask(message.recipient),
        reason_text=_without_number(message.reason_text, message.recipient),
    )


def shown_entries(message: Message, entries: Iterable[TimelineEntry]) -> list[TimelineEntry]:
    """The steps of a message as its own page shows them."""
    if sessions.this().is_admin:
        return list(entries)
    return [replace(entry, detail=_without_number(entry.detail, message.recipient)) for entry in entries]


def _without_number(words: str, number: str) -> str:
    forms = written_forms(number)
    return forms.sub(mask(number), words) if forms else words
