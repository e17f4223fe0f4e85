"""The audit log in plain words."""

from __future__ import annotations

from typing import Any

from app.domain.audit import Action
from app.domain.bulk import Deed
from app.services import services
from app.store.audit import Entry
from app.web.admin.parts.settings_form import labels
from app.web.admin.words.adapters import text_of
from app.web.admin.words.bulk import deed_label
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import STATUS_LABELS, title_of_reason
from app.words.catalogues import N_

JOB = "job "  # what a bulk action is called in the log
_KINDS = {
    "settings": N_("Settings"),
    "sessions": N_("Sessions"),
    "address": N_("Addresses"),
    "gateway": N_("Gateway"),
    "sender": N_("Senders"),
    "message": N_("Messages"),
    "data": N_("Data shown, exported or erased"),
    "portal": N_("Installation"),
    "server": N_("Server"),
}

ACTIONS = {
    Action.SETTINGS_CHANGED: N_("Settings saved"),
    Action.SESSIONS_ENDED: N_("All sessions ended"),
    Action.ADDRESS_RENEWED: N_("Secret of an address renewed"),
    Action.GATEWAY_CONNECTED: N_("Gateway connected"),
    Action.GATEWAY_CHANGED: N_("Gateway settings saved"),
    Action.GATEWAY_CHOSEN: N_("Gateway chosen to send"),
    Action.GATEWAY_REMOVED: N_("Gateway removed"),
    Action.SENDER_ADDED: N_("Sender added"),
    Action.SENDER_CHANGED: N_("Sender changed"),
    Action.SENDER_REMOVED: N_("Sender removed"),
    Action.SENDERS_REGISTERED: N_("Senders registered in Bitrix24 again"),
    Action.MESSAGE_TESTED: N_("Test SMS sent"),
    Action.MESSAGE_SENT_AGAIN: N_("Message sent again"),
    Action.MESSAGE_RESOLVED: N_("Outcome of a message written down"),
    Action.MESSAGE_ENDED: N_("Message ended"),
    Action.BULK_STARTED: N_("Bulk action started"),
    Action.BULK_STOPPED: N_("Bulk action stopped"),
    Action.MESSAGES_DOUBTED: N_("Unsent messages marked as unknown after a restore"),
    Action.MESSAGES_PURGED: N_("Old messages removed"),
    Action.NUMBER_SHOWN: N_("Phone number shown in full"),
    Action.MESSAGES_EXPORTED: N_("Messages exported"),
    Action.EXPORT_FETCHED: N_("Export downloaded"),
    Action.SETTINGS_EXPORTED: N_("Settings exported"),
    Action.STATISTICS_EXPORTED: N_("Statistics exported"),
    Action.LOG_EXPORTED: N_("Activity log exported"),
    Action.DATA_IMPORTED: N_("Data imported"),
    Action.NUMBER_ERASED: N_("Phone number erased on request"),
    Action.PORTAL_INSTALLED: N_("App installed"),
    Action.PORTAL_UNINSTALLED: N_("App removed"),
    Action.PORTAL_ERASED: N_("All data of a portal erased"),
    Action.PORTAL_PAUSED: N_("Sending paused"),
    Action.PORTAL_CONTINUED: N_("Sending continued"),
    Action.HOST_DRAINED: N_("Machine takes no more work"),
    Action.HOST_CONTINUED: N_("Machine takes work again"),
    Action.KEYS_ROTATED: N_("Encryption key changed"),
}

_NAMES = {
    "countries": N_("Where messages may go"),
    "time_zone": N_("Time zone"),
    "notice_users": N_("Who is told"),
    "originator": N_("The phone shows"),
    "name": N_("Name"),
    "description": N_("Description"),
    "status": N_("Status"),
    "reason": N_("Reason"),
    "why": N_("Reason"),
    "to_number": N_("Recipient"),
    "number": N_("ID in this app"),
    "domain": N_("Address"),
    "version": N_("Version"),
    "what": N_("What"),
    "period": N_("Period"),
    "from": N_("From"),
    "to": N_("To"),
    "gateway": N_("Gateway"),
    "sender": N_("Sender"),
    "q": N_("Number or id"),
    "deed": N_("What"),
    "messages": N_("Messages"),
    "may_arrive_twice": N_("May arrive twice"),
    "source": N_("Sent by"),
}


def kind_label(kind: str) -> str:
    return _(_KINDS[kind])


def action_label(action: str) -> str:
    """Also of one that a newer release wrote."""
    return _(ACTIONS[Action(action)]) if action in ACTIONS else action


def about(entry: Entry) -> str:
    """The thing by its name: a gateway's title in place of its slug, a bulk action's number."""
    if entry.about.startswith(JOB):
        return f"#{entry.about.removeprefix(JOB)}"
    adapter = services().gateways.get(entry.about)
    return text_of(adapter.title) if adapter is not None else entry.about


def changes(entry: Entry) -> list[tuple[str, str, str]]:
    """What differs: its label, before, after."""
    names = [
        name
        for name in dict.fromkeys((*entry.before, *entry.after))
        if _is_said(entry.before.get(name)) or _is_said(entry.after.get(name))
    ]
    return [
        (_label(entry, name), _value(name, entry.before.get(name)), _value(name, entry.after.get(name)))
        for name in names
    ]


def _is_said(value: Any) -> bool:
    """Not an empty text or list: that a new thing lacks something is no news."""
    return value is not None and value not in ("", [], {})


def _label(entry: Entry, name: str) -> str:
    adapter = services().gateways.get(entry.about)
    if adapter is not None and entry.action.startswith("gateway."):
        return next((text_of(field.label) for field in adapter.fields if field.name == name), name)
    known = labels() if entry.action == Action.SETTINGS_CHANGED else {}
    return known.get(name) or (_(_NAMES[name]) if name in _NAMES else name)


def _value(name: str, value: Any) -> str:
    if name == "status" and value in STATUS_LABELS:
        return _(STATUS_LABELS[value])
    if name == "deed" and value in set(Deed):
        return deed_label(Deed(value))
    if name == "reason" and value:
        return title_of_reason(value)
    match value:
        case None | "":
            return ""
        case bool():
            return _("Yes") if value else _("No")
        case list():
            return ", ".join(_value("", each) for each in value)
        case dict():
            return "; ".join(f"{key}: {_value('', each)}" for key, each in value.items())
    return str(value)
