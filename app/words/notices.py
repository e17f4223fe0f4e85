"""What administrators read in Bitrix24's notification centre: what happened, what it means, what to do.

A notice leaves our pages, so nothing of a gateway's words, of messages or of numbers is in it.
"""

from __future__ import annotations

from math import floor

from babel.numbers import format_decimal, format_percent

from app.domain.incidents import GatewayCause, IncidentKind
from app.domain.weeks import WeekFigures
from app.words.catalogues import N_, PORTAL, catalogue
from app.words.languages import locale_of

_GATEWAY_BEGUN = {
    GatewayCause.STOPPED: N_(
        "The SMS gateway refuses your account. Messages wait. Open the app and check the access data; if they"
        " are right, top up the account at the gateway."
    ),
    GatewayCause.SILENT: N_(
        "The SMS gateway does not answer. Messages wait and are tried again by themselves. If it stays so,"
        " open the app and check the gateway."
    ),
    GatewayCause.CHECK: N_(
        "The regular check of the SMS gateway fails. Messages may not be sent. Open the app and press “Save"
        " and check” on the Gateway page."
    ),
}
_LOW = N_(
    "The balance at the SMS gateway is below your limit. Messages are still sent. Top up the account there"
    " before it is used up."
)
_RUSH = N_(
    "More than ten times as many SMS as on a usual day came in the last 24 hours. They are still sent. Open"
    " the app and see what sends them."
)
# Told of one state only: the others are those in which a portal cannot be told anything.
_NOT_READY = N_(
    "The app is not fully registered in Bitrix24. It may be missing where an SMS provider is chosen. Open the"
    " app and press “Try again”."
)
_OVER = {
    IncidentKind.GATEWAY: N_("The trouble with the SMS gateway is over. Messages are being sent again."),
    IncidentKind.BALANCE: N_(
        "The alert about the low balance at the SMS gateway has ended. The app’s overview shows the balance."
    ),
    IncidentKind.RUSH: N_("The number of SMS in a day is no longer far above the usual."),
    IncidentKind.PORTAL: N_(
        "The app’s connection with Bitrix24 works again. Statuses that waited are being told."
    ),
}


_TEST = N_("This is a test notice. Notices of this app get through to you.")
# Without plurals, which would be other ones in each language.
_WEEK = N_("Last week. Messages: %(messages)s. Delivered: %(share)s. Need a look: %(to_look_at)s.")


def notice_text(kind: IncidentKind, cause: str, *, is_over: bool, language: str, app_name: str) -> str:
    """One notice in a language of Bitrix24; in English where there is none in it."""
    text = _OVER[kind] if is_over else _begun(kind, cause)
    return _told(text, language, app_name)


def test_text(*, language: str, app_name: str) -> str:
    return _told(_TEST, language, app_name)


def week_text(figures: WeekFigures, *, language: str, app_name: str) -> str:
    """The week in one line, with numbers as they are written in the language."""
    locale = locale_of(language)
    share = figures.delivered_share
    values = {
        "messages": format_decimal(figures.messages, locale=locale),
        # Rounded down: "100%" is said of nothing that lacks one.
        "share": "–" if share is None else format_percent(floor(share * 100) / 100, locale=locale),
        "to_look_at": format_decimal(figures.to_look_at, locale=locale),
    }
    return _told(_WEEK, language, app_name, **values)


def _told(text: str, language: str, app_name: str, **values: str) -> str:
    words = catalogue(PORTAL, locale_of(language)).gettext(text)
    return f"{app_name}: {words % values if values else words}"


def _begun(kind: IncidentKind, cause: str) -> str:
    match kind:
        case IncidentKind.PORTAL:
            return _NOT_READY
        case IncidentKind.BALANCE:
            return _LOW
        case IncidentKind.RUSH:
            return _RUSH
    return _GATEWAY_BEGUN[GatewayCause(cause)]
