"""The senders: how each stands in the portal; add, rename, remove."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from babel import Locale
from flask import Response, abort, request, url_for
from flask_babel import get_locale

from app import registration
from app.bitrix.errors import PortalBusy, PortalError, portal_error
from app.domain.portals import Portal
from app.domain.senders import ENGLISH, SenderInvalid, SenderProblem, Text
from app.registration import InPortal
from app.services import services
from app.store.portals import renewing, senders
from app.store.portals.senders import FIRST_CODE, Sender
from app.transport import TransportError
from app.web.admin import overview
from app.web.admin.frame import document, sessions
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import Trouble, compare_trouble, registration_trouble, system_text
from app.web.outward import TooManyWaiting
from app.words import sender_names
from app.words.languages import LOCALES

blueprint = document.page_blueprint("ui_senders")

_PORTAL_CODE = re.compile(r"([A-Z][A-Z0-9_]+)(?:: (.*))?", re.DOTALL)


@blueprint.get("/senders")
def show() -> Response:
    return _list()


@blueprint.post("/senders")
def register_again() -> Response:
    """Bring the portal in step now, because somebody asks for it."""
    return _told(_("All senders are registered in Bitrix24"), overview.register_as_asked)


@blueprint.post("/senders/renew-address")
def renew_address() -> Response:
    """A new secret in the address that Bitrix24 calls, told to Bitrix24 at once."""
    with suppress(renewing.NothingToRenew):  # removed meanwhile: what follows says so
        renewing.renew_handler(sessions.this().portal, now=services().now())
    return _told(_("The address has a new secret. The old one is good for another 24 hours."))


@blueprint.get("/senders/new")
def ask_new() -> Response:
    return document.page("sender.html", **_form(None, {}))


@blueprint.post("/senders/new")
def add() -> Response:
    given = _given()
    try:
        senders.add(sessions.this().portal.id, **_values(given), now=services().now())
    except SenderInvalid as invalid:
        return document.page("sender.html", status=422, **_form(None, given, invalid.problems))
    except senders.SenderRefused:
        return document.page("sender.html", status=422, **_form(None, given), is_full=True)
    return _told(_("The sender was added"))


@blueprint.get("/senders/<code>")
def ask_change(code: str) -> Response:
    sender = _sender(code)
    return document.page("sender.html", **_form(sender, _stored(sender)))


@blueprint.post("/senders/<code>")
def change(code: str) -> Response:
    sender, given = _sender(code), _given()
    try:
        senders.change(sessions.this().portal.id, sender.code, **_values(given), now=services().now())
    except SenderInvalid as invalid:
        return document.page("sender.html", status=422, **_form(sender, given, invalid.problems))
    return _told(_("The sender was changed"))


@blueprint.get("/senders/<code>/remove")
def ask_remove(code: str) -> Response:
    """The question before a removal."""
    sender = _removable(code)
    return document.page("sender_remove.html", tab="senders", code=sender.code, name=_name_of(sender))


@blueprint.post("/senders/<code>/remove")
def remove(code: str) -> Response:
    senders.remove(sessions.this().portal.id, _removable(code).code, now=services().now())
    return _told(_("The sender was removed"))


def _sender(code: str) -> Sender:
    mine = _active(sessions.this().portal.id)
    return next((sender for sender in mine if sender.code == code), None) or abort(404)


def _removable(code: str) -> Sender:
    if code == FIRST_CODE:
        abort(404)  # it belongs to the installation, and no page offers it
    return _sender(code)


def _active(portal_id: int) -> list[Sender]:
    return [sender for sender in senders.of_portal(portal_id) if not sender.is_removed]


# --- the list


def _told(done: str, register: Callable[[Portal], Trouble | None] = overview.register) -> Response:
    """What was saved is told to the portal at once; where that fails it stays saved and is repeated."""
    trouble = register(sessions.this().portal)
    if trouble is None:
        return _list(done=done)
    told_later = Trouble(
        _("Saved here, but not in Bitrix24 yet"),
        f"{trouble.title}. {trouble.means}",
        _("It is repeated automatically until it succeeds. To hurry it: %(todo)s", todo=trouble.todo),
    )
    return document.page("senders.html", status=502, **_facts({}, trouble=told_later))


def _list(*, done: str = "") -> Response:
    try:
        states = registration.compare(services(), sessions.this().portal)
    except (PortalError, TransportError) as error:
        return document.page("senders.html", **_facts({}, trouble=compare_trouble(error), done=done))
    except TooManyWaiting:
        return document.page("senders.html", **_facts({}, trouble=system_text("busy"), done=done))
    return document.page("senders.html", **_facts(states, done=done))


@dataclass(frozen=True)
class Row:
    code: str
    name: str
    description: str
    originator: str
    label: str
    tone: str
    change_url: str
    remove_url: str


def _facts(
    states: Mapping[str, InPortal], *, trouble: Trouble | None = None, done: str = ""
) -> dict[str, Any]:
    """`states` is empty when the portal was not asked, or could not be."""
    mine = _active(sessions.this().portal.id)
    refusal = next((_refusal(sender) for sender in mine if states.get(sender.code) in _AMISS), None)
    return {
        "tab": "senders",
        "rows": [_row(sender, states.get(sender.code)) for sender in mine],
        "strays": [code for code, state in states.items() if state is InPortal.STRAY],
        "problem": trouble or (registration_trouble(refusal) if refusal else None),
        "done": done,
    }


_AMISS = (InPortal.MISSING, InPortal.OUTDATED)


def _row(sender: Sender, state: InPortal | None) -> Row:
    label, tone = _standing(sender, state)
    names, descriptions = registration.texts_of(sender, services().config.app_name)
    return Row(
        code=sender.code,
        name=_in_their_language(names),
        description=_in_their_language(descriptions),
        originator=sender.originator,
        label=label,
        tone=tone,
        change_url=url_for(".ask_change", code=sender.code),
        remove_url=url_for(".ask_remove", code=sender.code) if sender.code != FIRST_CODE else "",
    )


def _standing(sender: Sender, state: InPortal | None) -> tuple[str, str]:
    match state:
        case InPortal.IN_STEP:
            return _("Up to date"), "ok"
        case None:
            return _("Not compared"), "wait"
    if _refusal(sender):
        return _("Refused by Bitrix24"), "bad"
    if state is InPortal.MISSING:
        return _("Missing in Bitrix24"), "bad"
    return _("Changed here, not in Bitrix24 yet"), "wait"


def _refusal(sender: Sender) -> PortalError | None:
    """The portal's own word against the last attempt; None where it was only busy or not reached."""
    said = _PORTAL_CODE.fullmatch(sender.error)
    error = portal_error(said[1], said[2] or "") if said else None
    return error if error and error.is_known and not isinstance(error, PortalBusy) else None


def _name_of(sender: Sender) -> str:
    return _in_their_language(registration.texts_of(sender, services().config.app_name)[0])


def _in_their_language(text: Text) -> str:
    """As the portal shows it to this person: its first entry where the language is missing."""
    if isinstance(text, str):
        return text
    language = sessions.this().language
    return text.get(language) or next(iter(text.values()))


# --- the form


def _given() -> dict[str, str]:
    return {name: value.strip() for name, value in request.form.items()}


def _values(given: Mapping[str, str]) -> dict[str, Any]:
    """What was typed as the store takes it: a map of languages only where one has a text of its own."""
    return {
        "originator": given.get("originator", ""),
        "name": _text_of(given, "name"),
        "description": _text_of(given, "description"),
    }


def _text_of(given: Mapping[str, str], name: str) -> Text:
    prefix = f"{name}-"
    others = {
        key.removeprefix(prefix): text for key, text in given.items() if key.startswith(prefix) and text
    }
    return {ENGLISH: given.get(name, ""), **others} if others else given.get(name, "")


def _stored(sender: Sender) -> dict[str, str]:
    values = {"originator": sender.originator}
    for name, text in (("name", sender.name), ("description", sender.description)):
        if isinstance(text, str):
            values[name] = text
        else:
            values |= {
                name if language == ENGLISH else f"{name}-{language}": text[language] for language in text
            }
    return values


@dataclass(frozen=True)
class Language:
    """The texts in one more language; the portal's code stands beside the name that a person knows."""

    code: str
    title: str
    name: str
    description: str
    name_error: str
    description_error: str


def _form(
    sender: Sender | None, values: Mapping[str, str], problems: list[SenderProblem] | None = None
) -> dict[str, Any]:
    errors = {_input_of(problem): _problem_text(problem) for problem in problems or ()}
    kept = {key.partition("-")[2] for key in values if "-" in key}  # a command may have set any language
    languages = [
        Language(
            code=code,
            title=_language_name(code),
            name=values.get(f"name-{code}", ""),
            description=values.get(f"description-{code}", ""),
            name_error=errors.get(f"name-{code}", ""),
            description_error=errors.get(f"description-{code}", ""),
        )
        for code in dict.fromkeys((*sender_names.languages()[1:], *sorted(kept)))
    ]
    return {
        "tab": "senders",
        "sender": sender,
        "values": values,
        "errors": errors,
        "languages": languages,
        "has_languages": bool(kept),
        "save_url": url_for(".change", code=sender.code) if sender else url_for(".add"),
    }


def _input_of(problem: SenderProblem) -> str:
    if problem.language in ("", ENGLISH):
        return problem.field
    return f"{problem.field}-{problem.language}"


def _problem_text(problem: SenderProblem) -> str:
    match problem.code:
        case "originator":
            return _(
                "Write a number of 3 to 15 digits, or a name of up to 11 Latin letters and digits"
                " with at least one letter."
            )
        case "too_long":
            return _(
                "This text is longer than Bitrix24 takes: 500 characters for a name, 1000 for a description."
            )
        case "empty":
            return _(
                "Fill in this text as well: it is shown to everyone whose language has no text of its own."
            )
        case "language":
            return _("Bitrix24 knows languages by two letters only.")


def _language_name(code: str) -> str:
    """In the reader's own language; the code itself for one that we have no name for."""
    if code not in LOCALES:
        return code
    return Locale.parse(LOCALES[code]).get_display_name(get_locale()) or code
