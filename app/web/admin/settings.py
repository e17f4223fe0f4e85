"""The settings: language, privacy, retention, countries, and what becomes of late or unclear messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import phonenumbers
from flask import Response, request

from app.domain.portals import PortalSettings
from app.services import services
from app.store.portals import portals
from app.store.portals.portals import SettingsConflict
from app.web.admin.frame import document, sessions
from app.web.admin.words import language
from app.web.admin.words.language import gettext as _

blueprint = document.page_blueprint("ui_settings")

THEMES = ("light", "dark", "auto")
LIVES_S = (0, 600, 3600, 6 * 3600, 24 * 3600, 72 * 3600)
TEXT_DAYS_LIMIT = 3650
# A call that is repeated must find its row for as long as it could still be sent.
ROW_DAYS = range(7, 3651)
# Two decimals at most: "1,000" means a thousand to some and one to others, so it is asked again.
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,2})?")


@blueprint.get("/settings")
def show() -> Response:
    portal = sessions.this().portal
    return _page(_form_of(portal.settings), version=portal.settings_version)


@blueprint.post("/settings")
def save() -> Response:
    """Save what was typed, unless somebody else saved since the form was shown."""
    portal = sessions.this().portal
    form = _sent_form()
    settings, errors = _read(form, portal.settings)
    version = request.form.get("version", default=0, type=_version)
    if errors:
        return _page(form, version=version, errors=errors, status=422)
    try:
        portals.save_settings(portal.id, settings, version=version)
    except SettingsConflict:
        # The form comes back with the version that won: saving it once more replaces that knowingly.
        return _page(form, version=portal.settings_version, notice="conflict", status=409)
    document.enter(replace(sessions.this(), portal=portals.by_id(portal.id)))
    return _page(_form_of(settings), version=version + 1, notice="saved")


@blueprint.post("/settings/end-sessions")
def end_sessions() -> Response:
    """Everybody who has the app open in this portal, here and elsewhere, has to be proved anew: so does this
    person."""
    portals.end_sessions(sessions.this().portal.id)
    return document.system_page("sessions_ended", 200)


def _version(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("no version of settings")
    return int(text)


@dataclass(frozen=True)
class Form:
    """The fields as the browser shows and sends them: a name's text, and the countries that are ticked."""

    texts: Mapping[str, str]
    countries: frozenset[str] = field(default_factory=frozenset)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")


def _sent_form() -> Form:
    return Form(request.form.to_dict(), frozenset(request.form.getlist("country")))


def _form_of(settings: PortalSettings) -> Form:
    return Form(
        {
            "language": settings.language,
            "theme": settings.theme,
            "mask_numbers": _ticked(settings.mask_numbers),
            "expensive_numbers": _ticked(settings.expensive_numbers),
            "hide_texts": _ticked(settings.hide_texts),
            "employees_see_log": _ticked(settings.employees_see_log),
            "employees_see_own": _ticked(settings.employees_see_own),
            "text_days": str(settings.text_days),
            "row_days": str(settings.row_days),
            "default_country": settings.default_country,
            "which_countries": "some" if settings.countries else "all",
            "time_to_live_s": str(settings.time_to_live_s),
            "unknown_policy": settings.unknown_policy,
            "low_balance": settings.low_balance,
        },
        frozenset(settings.countries),
    )


def _ticked(value: bool) -> str:
    return "true" if value else ""


# --- from the form to settings


def _read(form: Form, present: PortalSettings) -> tuple[PortalSettings, dict[str, str]]:
    """The settings with what was typed, and what is wrong with it, by field."""
    text_days = _days(form["text_days"], range(TEXT_DAYS_LIMIT + 1))
    row_days = _days(form["row_days"], ROW_DAYS)
    low_balance = _amount(form["low_balance"])
    known_countries = phonenumbers.SUPPORTED_REGIONS
    chosen = sorted(form.countries & known_countries) if form["which_countries"] == "some" else []
    errors = {}
    if text_days is None:
        errors["text_days"] = _("Write a whole number of days from 0 to %(most)s.", most=TEXT_DAYS_LIMIT)
    if row_days is None:
        errors["row_days"] = _(
            "Write a whole number of days from %(least)s to %(most)s.",
            least=ROW_DAYS[0],
            most=ROW_DAYS[-1],
        )
    if text_days is not None and row_days is not None and text_days > row_days:
        errors["text_days"] = _("A text cannot be kept longer than its message.")
    if form["which_countries"] == "some" and not chosen:
        errors["countries"] = _("Choose at least one country, or allow all: else nothing could be sent.")
    if low_balance is None:
        errors["low_balance"] = _("Write an amount such as 10 or 7.50, or leave it empty.")
    settings = replace(
        present,
        language=_one_of(form["language"], [code for code, _name in language.languages()], ""),
        theme=_one_of(form["theme"], THEMES, present.theme),
        mask_numbers=form["mask_numbers"] == "true",
        expensive_numbers=form["expensive_numbers"] == "true",
        hide_texts=form["hide_texts"] == "true",
        employees_see_log=form["employees_see_log"] == "true",
        employees_see_own=form["employees_see_own"] == "true",
        text_days=present.text_days if text_days is None else text_days,
        row_days=present.row_days if row_days is None else row_days,
        default_country=_one_of(form["default_country"], known_countries, ""),
        countries=tuple(chosen),
        time_to_live_s=int(
            _one_of(form["time_to_live_s"], [str(s) for s in LIVES_S], str(present.time_to_live_s))
        ),
        unknown_policy=_one_of(form["unknown_policy"], ("wait", "resend"), present.unknown_policy),
        low_balance=low_balance or "",
    )
    return settings, errors


def _one_of(value: str, choices: Any, default: str) -> str:
    return value if value in choices else default


def _days(text: str, allowed: range) -> int | None:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if int(text) in allowed else None


def _amount(text: str) -> str | None:
    """A plain decimal number, empty for none; None when it is neither."""
    text = text.strip().replace(",", ".")
    return text if not text or _AMOUNT.fullmatch(text) else None


# --- the page


def _page(
    form: Form,
    *,
    version: int,
    errors: Mapping[str, str] | None = None,
    notice: str = "",
    status: int = 200,
) -> Response:
    saved = sessions.this().portal.settings
    return document.page(
        "settings.html",
        status=status,
        tab="settings",
        form=form,
        version=version,
        errors=errors or {},
        notice=notice,
        labels=_labels(),
        differing=_differing(form, _form_of(saved)) if notice == "conflict" else [],
        theme=saved.theme,
        languages=[("", _("As in Bitrix24, for each person")), *language.languages()],
        themes=[("light", _("Light")), ("dark", _("Dark")), ("auto", _("As the device"))],
        countries=language.countries(),
        lives=[(str(seconds), _life(seconds)) for seconds in LIVES_S],
    )


def _life(seconds: int) -> str:
    if seconds:
        return language.lifetime(timedelta(seconds=seconds))
    usual = language.lifetime(services().timing.span("time_to_live_s"))
    return _("As usual on this server (%(span)s)", span=usual)


def _labels() -> dict[str, str]:
    return {
        "language": _("Language"),
        "theme": _("Colours"),
        "mask_numbers": _("Mask phone numbers in lists"),
        "expensive_numbers": _("Send to numbers that can be very expensive"),
        "hide_texts": _("Hide the texts of messages"),
        "employees_see_log": _("Every employee may read the message log"),
        "employees_see_own": _("Every employee may see the messages that they wrote"),
        "text_days": _("Days until the text of a message is removed"),
        "row_days": _("Days until a message is removed altogether"),
        "default_country": _("Country of numbers without a country code"),
        "which_countries": _("Where messages may go"),
        "time_to_live_s": _("How long a message may wait to be sent"),
        "unknown_policy": _("When the gateway’s answer never comes"),
        "low_balance": _("Warn when the balance falls below"),
    }


def _differing(form: Form, saved: Form) -> list[tuple[str, str]]:
    """The fields, with their labels, in which a form differs from what is saved now."""
    found = [(name, label) for name, label in _labels().items() if form[name] != saved[name]]
    if form["which_countries"] == saved["which_countries"] == "some" and form.countries != saved.countries:
        found.append(("which_countries", _labels()["which_countries"]))
    return found
