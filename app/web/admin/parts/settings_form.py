"""The settings as a form: what its fields show, and the one place that reads and judges what comes back.

The page, and a file that is imported, ask the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import phonenumbers
from werkzeug.datastructures import MultiDict

from app.domain.portals import PortalSettings
from app.web.admin.words import language
from app.web.admin.words.language import gettext as _

THEMES = ("light", "dark", "auto")
LIVES_S = (0, 600, 3600, 6 * 3600, 24 * 3600, 72 * 3600)
NOTICES = ("all", "some", "none")
TEXT_DAYS_LIMIT = 3650
# A call that is repeated must find its row for as long as it could still be sent.
ROW_DAYS = range(7, 3651)
NOTICE_USERS_LIMIT = 50
# Two decimals at most: "1,000" means a thousand to some and one to others, so it is asked again.
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,2})?")
_USER = re.compile(r"[1-9][0-9]{0,18}")

TICKS = (
    "mask_numbers",
    "expensive_numbers",
    "hide_texts",
    "employees_see_log",
    "employees_see_own",
    "weekly_summary",
)
LISTS = {"country": "countries", "notice_user": "notice_users"}  # the fields' names, and the settings'


@dataclass(frozen=True)
class Form:
    """The fields as the browser shows and sends them: a name's text, and what is ticked in a list."""

    texts: Mapping[str, str]
    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def countries(self) -> frozenset[str]:
        return self.lists.get("country", frozenset())

    @property
    def notice_users(self) -> frozenset[str]:
        return self.lists.get("notice_user", frozenset())

    def chooses(self, name: str) -> bool:
        """Whether some are chosen from the list that belongs to this field."""
        return self[name] == "some"

    def choices(self) -> dict[str, str]:
        """The fields that have one value out of a list."""
        return {name: self[name] for name in _choices()}

    @classmethod
    def sent(cls, fields: MultiDict[str, str]) -> Form:
        return cls(fields.to_dict(), {name: frozenset(fields.getlist(name)) for name in LISTS})

    @classmethod
    def of(cls, settings: PortalSettings) -> Form:
        values = settings.to_json()
        texts = {name: str(value) for name, value in values.items() if not isinstance(value, list | bool)}
        texts |= {name: "true" if values[name] else "" for name in TICKS}
        texts["which_countries"] = "some" if settings.countries else "all"
        return cls(texts, {name: frozenset(values[its]) for name, its in LISTS.items()})


def labels() -> dict[str, str]:
    """What each field is called, in the order of the page."""
    return {
        "language": _("Language"),
        "theme": _("Theme"),
        "mask_numbers": _("Mask phone numbers in lists"),
        "hide_texts": _("Hide the texts of messages"),
        "employees_see_log": _("Every employee may read the message log"),
        "employees_see_own": _("Every employee may see the messages that they wrote"),
        "text_days": _("Days until the text of a message is removed"),
        "row_days": _("Days until a message is removed completely"),
        "default_country": _("Country of numbers without a country code"),
        "which_countries": _("Where messages may go"),
        "expensive_numbers": _("Send to numbers that can be very expensive"),
        "time_to_live_s": _("How long a message may wait to be sent"),
        "unknown_policy": _("When the gateway’s answer never comes"),
        "low_balance": _("Warn when the balance falls below"),
        "notices": _("Who gets notices"),
        "weekly_summary": _("Weekly summary"),
    }


def read(form: Form, present: PortalSettings) -> tuple[PortalSettings, dict[str, str]]:
    """The settings with what was typed, and what is wrong with it, by field. A choice that is missing, in a
    page of an earlier release, stays as it is."""
    form = Form({**Form.of(present).choices(), **form.texts}, form.lists)
    errors = {
        name: _("Choose one of the list.") for name, all_ in _choices().items() if form[name] not in all_
    }
    text_days = _days(form["text_days"], range(TEXT_DAYS_LIMIT + 1))
    row_days = _days(form["row_days"], ROW_DAYS)
    low_balance = _amount(form["low_balance"])
    countries = (
        sorted(form.countries & phonenumbers.SUPPORTED_REGIONS) if form.chooses("which_countries") else []
    )
    users = sorted(filter(_USER.fullmatch, form.notice_users), key=int) if form.chooses("notices") else []
    if text_days is None:
        errors["text_days"] = _("Write a whole number of days from 0 to %(most)s.", most=TEXT_DAYS_LIMIT)
    if row_days is None:
        errors["row_days"] = _(
            "Write a whole number of days from %(least)s to %(most)s.", least=ROW_DAYS[0], most=ROW_DAYS[-1]
        )
    if text_days is not None and row_days is not None and text_days > row_days:
        errors["text_days"] = _("A text cannot be kept longer than its message.")
    if form.chooses("which_countries") and not countries:
        errors["countries"] = _("Choose at least one country, or allow all: otherwise nothing could be sent.")
    if low_balance is None:
        errors["low_balance"] = _("Write an amount such as 10 or 7.50, or leave it empty.")
    if form.chooses("notices") and not 0 < len(users) <= NOTICE_USERS_LIMIT:
        errors["notices"] = _("Choose at least one person, or choose that nobody is told.")
    if errors:
        return present, errors
    assert text_days is not None
    assert row_days is not None
    assert low_balance is not None
    settings = replace(
        present,
        language=form["language"],
        theme=form["theme"],
        mask_numbers=form["mask_numbers"] == "true",
        expensive_numbers=form["expensive_numbers"] == "true",
        hide_texts=form["hide_texts"] == "true",
        employees_see_log=form["employees_see_log"] == "true",
        employees_see_own=form["employees_see_own"] == "true",
        text_days=text_days,
        row_days=row_days,
        default_country=form["default_country"],
        countries=tuple(countries),
        time_to_live_s=int(form["time_to_live_s"]),
        unknown_policy=form["unknown_policy"],
        low_balance=low_balance,
        notices=form["notices"],
        notice_users=tuple(users),
        weekly_summary=form["weekly_summary"] == "true",
    )
    return settings, {}


def _chosen_countries(form: Form) -> list[str]:
    return sorted(form.countries & phonenumbers.SUPPORTED_REGIONS) if form.chooses("which_countries") else []


def _chosen_users(form: Form) -> list[str]:
    return sorted(filter(_USER.fullmatch, form.notice_users), key=int) if form.chooses("notices") else []


def _choices() -> dict[str, Collection[str]]:
    return {
        "language": ["", *(code for code, _name in language.languages())],
        "theme": THEMES,
        "default_country": {"", *phonenumbers.SUPPORTED_REGIONS},
        "which_countries": ("all", "some"),
        "time_to_live_s": [str(seconds) for seconds in LIVES_S],
        "unknown_policy": ("wait", "resend"),
        "notices": NOTICES,
    }


def _days(text: str, allowed: range) -> int | None:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if int(text) in allowed else None


def _amount(text: str) -> str | None:
    """A plain decimal number, empty for none; None when it is neither."""
    text = text.strip().replace(",", ".")
    return text if not text or _AMOUNT.fullmatch(text) else None


def differing(form: Form, other: Form) -> list[str]:
    """The fields in which two forms say something else, in the order of the page."""
    found = {name for name in labels() if form[name] != other[name]}
    for name, field_name in (("which_countries", "country"), ("notices", "notice_user")):
        if (
            form.chooses(name)
            and other.chooses(name)
            and form.lists.get(field_name) != other.lists.get(field_name)
        ):
            found.add(name)
    return [name for name in labels() if name in found]
