"""The audit log's words: who acts, and what is worth a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Who(StrEnum):
    USER = "user"  # of the portal, by their number there
    OPERATOR = "operator"  # whoever runs this server, by their account on the machine
    APP = "app"  # nobody asked: a job, or the portal itself


@dataclass(frozen=True)
class Actor:
    """`address` is where a request came from, as the proxies before us give it."""

    who: Who
    name: str = ""
    address: str = ""


THE_APP = Actor(Who.APP)


class Action(StrEnum):
    """`<what>.<became>`. They are stored: none is ever renamed, and each has its words on the page."""

    SETTINGS_CHANGED = "settings.changed"
    SESSIONS_ENDED = "sessions.ended"
    ADDRESS_RENEWED = "address.renewed"

    GATEWAY_CONNECTED = "gateway.connected"
    GATEWAY_CHANGED = "gateway.changed"
    GATEWAY_CHOSEN = "gateway.chosen"
    GATEWAY_REMOVED = "gateway.removed"

    SENDER_ADDED = "sender.added"
    SENDER_CHANGED = "sender.changed"
    SENDER_REMOVED = "sender.removed"
    SENDERS_REGISTERED = "sender.registered"

    MESSAGE_TESTED = "message.tested"
    MESSAGE_SENT_AGAIN = "message.sent_again"
    MESSAGE_RESOLVED = "message.resolved"
    MESSAGE_ENDED = "message.ended"
    BULK_STARTED = "message.bulk_started"
    BULK_STOPPED = "message.bulk_stopped"
    MESSAGES_DOUBTED = "message.doubted"
    MESSAGES_PURGED = "message.purged"

    NUMBER_SHOWN = "data.shown"
    MESSAGES_EXPORTED = "data.exported"
    EXPORT_FETCHED = "data.export_fetched"
    SETTINGS_EXPORTED = "data.settings_exported"
    STATISTICS_EXPORTED = "data.statistics_exported"
    LOG_EXPORTED = "data.log_exported"
    DATA_IMPORTED = "data.imported"
    NUMBER_ERASED = "data.number_erased"

    PORTAL_INSTALLED = "portal.installed"
    PORTAL_UNINSTALLED = "portal.uninstalled"
    PORTAL_ERASED = "portal.erased"
    PORTAL_PAUSED = "portal.paused"
    PORTAL_CONTINUED = "portal.continued"

    HOST_DRAINED = "server.drained"
    HOST_CONTINUED = "server.continued"
    KEYS_ROTATED = "server.keys_rotated"

    @property
    def kind(self) -> str:
        """What the log is narrowed to by it."""
        return self.value.partition(".")[0]


KINDS = tuple(dict.fromkeys(action.kind for action in Action))


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Only what is not the same in both."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in names if name in before},
        {name: after[name] for name in names if name in after},
    )
