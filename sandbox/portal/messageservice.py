"""`messageservice.*`: senders and message statuses, checked in the kernel's order with the kernel's words."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sandbox.portal.calls import Call, rest_method
from sandbox.portal.errors import RestError
from sandbox.portal.wire import is_filled, scalar, upper_keys
from sandbox.portal.world import App, Message, Portal, Sender

STATUSES = ("queued", "sent", "delivered", "undelivered", "failed")
KEPT_S = 14 * 86_400

_SCOPE = "messageservice"
_VALIDATION = "ERROR_SENDER_VALIDATION_FAILURE"
_CODE = re.compile(r"[a-z0-9.\-_]+", re.IGNORECASE)
_ANY_LANGUAGE = "**"
_MAX_CODE, _MAX_HANDLER, _MAX_NAME, _MAX_DESCRIPTION = 128, 1000, 500, 1000

# Which language the portal falls back to when a phrase is missing in the user's own.
_FALLBACKS = {"ua": "ru", "by": "ru", "kz": "ru", "ru": "ru", "de": "de"}

_STATUS_TEXTS = {
    "pending": "sending",
    "queued": "enqueued",
    "sent": "sent",
    "delivered": "delivered",
    "undelivered": "not delivered",
    "failed": "delivery error",
    "error": "error",
}

Phrases = dict[str, tuple[str, str | None]]


@rest_method("messageservice.sender.add", _SCOPE)
def sender_add(call: Call, params: dict[str, Any]) -> bool:
    call.require_app()
    call.require_admin()
    data = upper_keys(params)
    if not data:
        raise RestError(_VALIDATION, "Empty data!")
    code = _checked_code(data)
    handler = checked_url(scalar(data.get("HANDLER")))
    if not is_filled(data.get("NAME")):
        raise RestError(_VALIDATION, "Empty sender NAME!")
    kind = scalar(data.get("TYPE"))
    if not kind:
        raise RestError(_VALIDATION, "Empty sender message TYPE!")
    if kind != "SMS":
        raise RestError(_VALIDATION, "Unknown sender message TYPE!")
    if code.lower() in call.portal.senders:
        raise RestError("ERROR_SENDER_ALREADY_INSTALLED", "Sender already installed!")
    phrases = _phrases(data["NAME"], data.get("DESCRIPTION"))
    if len(code) > _MAX_CODE or len(handler) > _MAX_HANDLER or _too_long(phrases):
        raise RestError("ERROR_SENDER_ADD_FAILURE", "Sender save error!")
    call.portal.senders[code.lower()] = Sender(code, handler, call.user.id, phrases)
    return True


@rest_method("messageservice.sender.update", _SCOPE, new_only=True)
def sender_update(call: Call, params: dict[str, Any]) -> bool:
    call.require_app()
    call.require_admin()
    data = upper_keys(params)
    code = scalar(data.get("CODE"))
    if not code:
        raise RestError("ERROR_SENDER_CODE_REQUIRED", "CODE is required!")
    if not any(is_filled(data.get(name)) for name in ("HANDLER", "NAME", "DESCRIPTION")):
        raise RestError("ERROR_SENDER_OTHER_PARAMS_REQUIRED", "At least one other parameter is required!")
    sender = call.portal.senders.get(code.lower())
    if sender is None:
        raise RestError("ERROR_SENDER_NOT_FOUND", "Sender not found!")
    handler = checked_url(scalar(data["HANDLER"])) if is_filled(data.get("HANDLER")) else sender.handler
    phrases = dict(sender.phrases)
    if is_filled(data.get("NAME")):
        phrases.update(_phrases(data["NAME"], data.get("DESCRIPTION")))
    elif is_filled(data.get("DESCRIPTION")):
        phrases = _described(phrases, data["DESCRIPTION"])
    if len(handler) > _MAX_HANDLER or _too_long(phrases):
        raise RestError("ERROR_SENDER_UPDATE_FAILURE", "Sender update error!")
    sender.handler, sender.phrases = handler, phrases
    return True


@rest_method("messageservice.sender.list", _SCOPE)
def sender_list(call: Call, params: dict[str, Any]) -> list[str]:
    call.require_app()
    call.require_admin()
    return [sender.code for sender in call.portal.senders.values()]


@rest_method("messageservice.sender.delete", _SCOPE)
def sender_delete(call: Call, params: dict[str, Any]) -> bool:
    call.require_app()
    call.require_admin()
    code = _checked_code(upper_keys(params))
    if call.portal.senders.pop(code.lower(), None) is None:
        raise RestError("ERROR_SENDER_NOT_FOUND", "Sender not found!")
    return True


@rest_method("messageservice.message.status.update", _SCOPE)
def status_update(call: Call, params: dict[str, Any]) -> bool:
    call.require_app()
    data = upper_keys(params)
    _checked_code(data)
    message_id = scalar(data.get("MESSAGE_ID"))
    if not message_id:
        raise RestError("ERROR_MESSAGE_NOT_FOUND", "Message not found!")
    status = scalar(data.get("STATUS"))
    if status not in STATUSES:
        raise RestError("ERROR_MESSAGE_STATUS_INCORRECT", "Message status incorrect!")
    message = call.portal.by_external.get(message_id)
    if message is None or _is_gone(call, message):
        raise RestError("ERROR_MESSAGE_NOT_FOUND", "Message not found!")
    if message.author != call.user.id:
        call.require_admin()
    message.set_status(status, "app")
    return True


@rest_method("messageservice.message.status.get", _SCOPE)
def status_get(call: Call, params: dict[str, Any]) -> str:
    number = scalar(upper_keys(params).get("MESSAGE_ID"))
    message = call.portal.messages.get(int(number)) if number.isdecimal() else None
    if message is None or _is_gone(call, message):
        raise RestError("ERROR_MESSAGE_NOT_FOUND", "Message not found!")
    return status_text(message.status)


def status_text(status: str) -> str:
    return _STATUS_TEXTS.get(status, status)


def sender_label(sender: Sender, app: App | None, portal: Portal, lang: str) -> str:
    """What a user reads in the list: `[menu name] NAME`, with empty brackets where the card has no name."""
    menu = app.menu_names.get(lang, "") if app is not None else ""
    return f"[{menu}] {sender_phrases(sender, lang)[0]}"


def sender_phrases(sender: Sender, lang: str) -> tuple[str, str]:
    """Name and description in the user's language, its fallback, or the phrase for any language."""
    for candidate in (lang, _FALLBACKS.get(lang, "en"), _ANY_LANGUAGE):
        if candidate in sender.phrases:
            name, description = sender.phrases[candidate]
            return name, description or ""
    return "", ""


def checked_url(url: str) -> str:
    """A HANDLER as the kernel wants it: a host with a dot that is not its first character, http or https."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise RestError("ERROR_WRONG_HANDLER_URL") from None
    if host.find(".") <= 0:
        raise RestError("ERROR_WRONG_HANDLER_URL")
    if parts.scheme.lower() not in ("http", "https"):
        raise RestError("ERROR_UNSUPPORTED_PROTOCOL")
    return url


def _checked_code(data: dict[str, Any]) -> str:
    code = scalar(data.get("CODE"))
    if not code:
        raise RestError(_VALIDATION, "Empty sender code!")
    if not _CODE.fullmatch(code):
        raise RestError(_VALIDATION, "Wrong sender code!")
    return code


def _phrases(name: Any, description: Any) -> Phrases:
    """Language rows as `addSenderLang` writes them.

    One row for any language, taken from a plain name or from the first entry of a map. Descriptions of the
    other type than the name are lost, so are languages of more than two characters, and so is a description
    whose key is spelled otherwise than its name's: it is looked up by the untouched one.
    """
    if not isinstance(name, dict | list):
        plain = None if isinstance(description, dict | list) or description is None else scalar(description)
        return {_ANY_LANGUAGE: (scalar(name), plain)}
    names = name if isinstance(name, dict) else {str(index): item for index, item in enumerate(name)}
    descriptions = description if isinstance(description, dict) else {}
    rows: Phrases = {}
    for lang, value in names.items():
        row = (scalar(value), scalar(descriptions[lang]) if lang in descriptions else None)
        rows.setdefault(_ANY_LANGUAGE, row)
        rows[str(lang).lower()] = row
    return {lang: row for lang, row in rows.items() if len(lang) <= 2}


def _described(phrases: Phrases, description: Any) -> Phrases:
    """New descriptions for languages that have a name; a new language would need one and is passed over.

    The row for any language belongs to plain texts: no entry of a map reaches it without a name.
    """
    if not isinstance(description, dict):
        name, _ = phrases.get(_ANY_LANGUAGE, ("", None))
        return {**phrases, _ANY_LANGUAGE: (name, scalar(description))}
    changed = dict(phrases)
    for key, value in description.items():
        if (lang := str(key).lower()) in changed and lang != _ANY_LANGUAGE:
            changed[lang] = (changed[lang][0], scalar(value))
    return changed


def _too_long(phrases: Phrases) -> bool:
    return any(
        len(name) > _MAX_NAME or len(description or "") > _MAX_DESCRIPTION
        for name, description in phrases.values()
    )


def _is_gone(call: Call, message: Message) -> bool:
    """The portal deletes messages 14 days after sending; here they are only hidden, to be looked at."""
    return call.world.clock.now() - message.created_at > KEPT_S
