"""The settings: shown, saved, taken out as a file and brought back in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urljoin

from flask import Response, request

from app.actions.test_notice import Told, send_test_notice
from app.domain.audit import Action
from app.services import services
from app.store import audit
from app.store.portals import portals, tokens
from app.store.portals.portals import SettingsConflict
from app.web.admin.frame import document, sessions
from app.web.admin.parts import settings_file
from app.web.admin.parts.days import day_of
from app.web.admin.parts.settings_form import LIVES_S, TICKS, Form, differing, labels, read
from app.web.admin.words import language
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import notice_trouble

blueprint = document.page_blueprint("ui_settings")


@blueprint.get("/settings")
def show() -> Response:
    portal = sessions.this().portal
    return _page(Form.of(portal.settings), version=portal.settings_version)


@blueprint.post("/settings")
def save() -> Response:
    """Save what was typed, unless somebody else saved since the form was shown."""
    session = sessions.this()
    portal = session.portal
    form = Form.sent(request.form)
    settings, errors = read(form, portal.settings)
    version = request.form.get("version", default=0, type=_version)
    if errors:
        return _page(form, version=version, errors=errors, status=422)
    settings = replace(settings, time_zone=session.time_zone)
    try:
        portals.save_settings(portal.id, settings, version=version, now=services().now())
    except SettingsConflict:
        # The form comes back with the version that won: saving it once more replaces that knowingly.
        return _page(form, version=portal.settings_version, notice="conflict", status=409)
    document.enter(replace(session, portal=portals.by_id(portal.id)))
    return _page(Form.of(settings), version=version + 1, notice="saved")


@blueprint.post("/settings/test-notice")
def test_notice() -> Response:
    """A notice to the person who asks for it, and whether Bitrix24 took it."""
    session = sessions.this()
    language_code = session.portal.settings.language or session.language
    told = send_test_notice(services(), session.portal, session.user_id, language_code)
    trouble = None if told is Told.DONE else notice_trouble(told)
    return document.page("_notice_sent.html", status=502 if trouble else 200, trouble=trouble)


@blueprint.post("/settings/end-sessions")
def end_sessions() -> Response:
    """Everybody who has the app open in this portal, here and elsewhere, has to be proved anew: so does this
    person."""
    portals.end_sessions(sessions.this().portal.id)
    return document.system_page("sessions_ended", 200)


# --- as a file


@blueprint.get("/settings.json")
def export() -> Response:
    audit.note(Action.SETTINGS_EXPORTED, sessions.this().portal.id)
    return Response(settings_file.written(sessions.this().portal.settings), mimetype="application/json")


@blueprint.post("/settings/import")
def compare() -> Response:
    """What a file would change. Nothing is saved here: what is shown is sent again like the form."""
    portal = sessions.this().portal
    try:
        imported = settings_file.read(_sent_file(), portal.settings)
    except settings_file.NotUsable as error:
        return _page(
            Form.of(portal.settings), version=portal.settings_version, import_error=str(error), status=422
        )
    _settings, errors = read(imported.form, portal.settings)
    now = Form.of(portal.settings)
    return document.page(
        "settings_import.html",
        status=422 if errors else 200,
        tab="settings",
        form=imported.form,
        version=portal.settings_version,
        changes=[_change(name, now, imported.form) for name in differing(now, imported.form)],
        errors=[(labels().get(name, name), error) for name, error in errors.items()],
        unknown=imported.unknown,
    )


def _sent_file() -> str:
    file = request.files.get("file")
    content = file.read(settings_file.LIMIT_BYTES + 1) if file else b""
    if not content:
        raise settings_file.NotUsable(_("Choose a file first."))
    if len(content) > settings_file.LIMIT_BYTES:
        raise settings_file.NotUsable(_("The file is too large to be settings of this app."))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise settings_file.NotUsable(_("The file is not JSON%(place)s.", place="")) from error


@dataclass(frozen=True)
class Change:
    label: str
    before: str
    after: str


def _change(name: str, before: Form, after: Form) -> Change:
    return Change(labels()[name], _in_words(name, before), _in_words(name, after))


def _in_words(name: str, form: Form) -> str:
    """The value of a field as the page says it."""
    value = form[name]
    if name in TICKS:
        return _("Yes") if value else _("No")
    if name == "which_countries" and value == "some":
        names = dict(language.countries())
        return ", ".join(sorted(names.get(code, code) for code in form.countries))
    return _choices().get(name, {}).get(value, value) or "–"


# --- the page


def _version(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("no version of settings")
    return int(text)


def _page(
    form: Form,
    *,
    version: int,
    errors: Mapping[str, str] | None = None,
    notice: str = "",
    import_error: str = "",
    status: int = 200,
) -> Response:
    saved = sessions.this().portal.settings
    names = labels()
    return document.page(
        "settings.html",
        status=status,
        tab="settings",
        form=form,
        version=version,
        errors=errors or {},
        notice=notice,
        import_error=import_error,
        labels=names,
        differing=[(name, names[name]) for name in differing(form, Form.of(saved))]
        if notice == "conflict"
        else [],
        theme=saved.theme,
        choices={name: list(words.items()) for name, words in _choices().items()},
        countries=language.countries(),
        people=_people(form),
        export_name=f"settings-{day_of(services().now()).isoformat()}.json",
    )


def _choices() -> dict[str, dict[str, str]]:
    """What can be chosen, in the order of the page: the value, and its words."""
    nobody_else = _("None: numbers must begin with + and the country code")
    return {
        "language": {"": _("As in Bitrix24, for each person"), **dict(language.languages())},
        "theme": {"light": _("Light"), "dark": _("Dark"), "auto": _("Same as the device")},
        "default_country": {"": nobody_else, **dict(language.countries())},
        "which_countries": {"all": _("To all countries"), "some": _("Only to those ticked below")},
        "time_to_live_s": {str(seconds): _life(seconds) for seconds in LIVES_S},
        "unknown_policy": {"wait": _("Wait and do not send again"), "resend": _("Send it again")},
        "notices": {
            "all": _("All administrators who have opened this app"),
            "none": _("Nobody"),
            "some": _("Only the people ticked below"),
        },
    }


def _life(seconds: int) -> str:
    if seconds:
        return language.lifetime(timedelta(seconds=seconds))
    usual = language.lifetime(services().timing.span("time_to_live_s"))
    return _("As usual on this server (%(span)s)", span=usual)


@dataclass(frozen=True)
class Person:
    """An administrator by the number that they have in the portal; names are not stored."""

    number: str
    label: str
    url: str


def _people(form: Form) -> list[Person]:
    """Whoever can be told: administrators who opened the app, and those who are ticked already."""
    session = sessions.this()
    known = {user for user, _language in tokens.administrators(session.portal.id)}
    numbers = sorted((n for n in known | form.notice_users if n.isdecimal()), key=int)
    return [_person(number, is_me=number == session.user_id) for number in numbers]


def _person(number: str, *, is_me: bool) -> Person:
    label = _("You (user %(number)s)", number=number) if is_me else _("User %(number)s", number=number)
    url = urljoin(sessions.this().portal.client_endpoint, f"../company/personal/user/{number}/")
    return Person(number, label, url)
