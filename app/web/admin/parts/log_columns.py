"""The columns of the log: which there are, and which of them a person sees."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from app.store.portals import preferences
from app.web.admin.frame import privacy, sessions
from app.web.admin.words.language import gettext as _
from app.words.catalogues import N_

ALWAYS = "time"  # with the recipient and the status: without them a row tells nothing
_LABELS = {
    "text": N_("Text"),
    "source": N_("Sent by"),
    "sender": N_("Sender"),
    "reason": N_("Reason"),
    "segments": N_("Segments"),
    "price": N_("Price"),
    "cards": N_("CRM"),
    "gateway": N_("Gateway"),
    "message_id": N_("ID in Bitrix24"),
}
_USUAL = frozenset({"text", "source", "sender", "reason", "segments", "price", "cards"})


def shown(*, useful: Collection[str]) -> frozenset[str]:
    """What this person chose; who chose nothing sees the usual ones, where they say something: `useful`."""
    chosen = privacy.preferences().log_columns
    if chosen is None:
        return _USUAL & frozenset(useful)
    return frozenset(chosen) & frozenset(_offered())


def choices(columns: Collection[str]) -> list[tuple[str, str, bool]]:
    """Name, label, and whether it is shown."""
    return [(name, _(_LABELS[name]), name in columns) for name in _offered()]


def choose(names: Iterable[str]) -> None:
    session = sessions.this()
    wanted = set(names)
    chosen = [ALWAYS, *(name for name in _LABELS if name in wanted)]
    preferences.choose_columns(session.portal.id, session.user_id, chosen)
    privacy.forget_preferences()


def _offered() -> list[str]:
    return [name for name in _LABELS if name != "text" or privacy.may_search_texts()]
