"""Where the cure of a message's trouble is: the page or the very setting, to be opened with one click."""

from __future__ import annotations

from dataclasses import dataclass

from flask import url_for

from app.domain.messages import Message, Reason
from app.domain.numbers import lacks_country
from app.web.admin.words.language import gettext as _


@dataclass(frozen=True)
class Cure:
    url: str
    label: str


_SETTINGS = {
    Reason.EXPENSIVE: "expensive_numbers",
    Reason.COUNTRY: "which_countries",
    Reason.EXPIRED: "time_to_live_s",
}
_AT_THE_GATEWAY = (Reason.NO_GATEWAY, Reason.ACCOUNT_STOPPED, Reason.TRIAL, Reason.NOT_REACHED)


def cure_of(message: Message) -> Cure | None:
    """For an administrator; None where there is nothing to be set."""
    setting = _SETTINGS.get(Reason(message.reason)) if message.reason in list(Reason) else None
    if message.reason == Reason.BAD_NUMBER and lacks_country(message.recipient):
        return Cure(_setting("default_country"), _("Choose the country"))
    if setting is not None:
        return Cure(_setting(setting), _("Open this setting"))
    if message.reason in _AT_THE_GATEWAY:
        return Cure(url_for("ui_gateway.show"), _("Open the gateway"))
    return None


def _setting(name: str) -> str:
    return url_for("ui_settings.show", _anchor=name)
