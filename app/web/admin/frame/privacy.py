"""What of a message this session may see: the only place that decides it for every page.

Lists mask numbers unless the settings say otherwise, or an administrator asks for them for a while, which is
written down; the page of one message shows its number in full, so that an administrator can tell two cases
apart. Other employees see masked numbers only, also in what a gateway said, and can search for none: a search
by parts would spell a masked number out. So would one for words of hidden texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from flask import g

from app.domain.messages import Message, TimelineEntry
from app.domain.numbers import mask, written_forms
from app.services import services
from app.store.portals import preferences as stored
from app.store.portals.preferences import Preferences
from app.web.admin.frame import sessions

SHOWN_FOR = timedelta(minutes=15)  # then lists mask numbers again by themselves


def number_in_list(number: str) -> str:
    return mask(number) if are_numbers_masked() else number


def are_numbers_masked() -> bool:
    """Whether lists mask numbers for this session."""
    session = sessions.this()
    if not session.is_admin:
        return True
    return session.portal.settings.mask_numbers and not are_numbers_shown()


def are_numbers_shown() -> bool:
    """Whether this administrator asked for numbers in full, for a while."""
    until = preferences().numbers_until
    return until is not None and until > services().now()


def show_numbers(is_wanted: bool) -> None:
    """Written down, since a list of numbers in full is what somebody would copy."""
    session = sessions.this()
    until = services().now() + SHOWN_FOR if is_wanted else None
    stored.show_numbers(session.portal.id, session.user_id, until)
    forget_preferences()


def preferences() -> Preferences:
    """What this person chose; asked once for each request."""
    if "preferences" not in g:
        session = sessions.this()
        g.preferences = stored.of_user(session.portal.id, session.user_id)
    found: Preferences = g.preferences
    return found


def forget_preferences() -> None:
    g.pop("preferences", None)


def shows_what_lists_mask() -> bool:
    """Whether the page of one message shows more of its number than lists do: that is written down."""
    return sessions.this().is_admin and are_numbers_masked()


def may_search_numbers() -> bool:
    return sessions.this().is_admin


def may_search_texts() -> bool:
    return not sessions.this().portal.settings.hide_texts


def only_author() -> str:
    """The user whose messages alone this session may see; empty: everybody's."""
    session = sessions.this()
    return (session.user_id or "nobody") if session.sees_only_own else ""


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
