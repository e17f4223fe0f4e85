"""What a gateway described by data consists of: names and values, from an admin's form or from a preset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from app.domain.outcomes import RefusalKind
from app.domain.status import MessageStatus
from app.gateways.answers import ErrorTable

# The words of SMPP 3.4, which many HTTP gateways pass on, and our own.
DEFAULT_STATUS_MAP = {
    "ENROUTE": "sent",
    "ACCEPTD": "sent",
    "SENT": "sent",
    "DELIVRD": "delivered",
    "DELIVERED": "delivered",
    "UNDELIV": "undelivered",
    "UNDELIVERED": "undelivered",
    "EXPIRED": "undelivered",
    "REJECTD": "failed",
    "REJECTED": "failed",
    "DELETED": "failed",
    "FAILED": "failed",
}
STATUSES = {status.value: status for status in MessageStatus if status is not MessageStatus.UNKNOWN}
KINDS: dict[str, RefusalKind | None] = {"ok": None, **{kind.value: kind for kind in RefusalKind}}
# A wrong path is a setting to mend, and a conflict may well be our own earlier try.
_HTTP_STATUSES: dict[int, RefusalKind | None] = {
    404: RefusalKind.CONFIG,
    405: RefusalKind.CONFIG,
    409: None,
}


# All that a plan may say. `{prefix}` stands for a request: none for the submission.
NAMES = frozenset(
    {
        *(
            f"{prefix}{name}"
            for prefix in ("", "check_", "poll_", "lookup_", "hooks_", "hook_", "unhook_")
            for name in ("url", "method", "body", "template", "body_text")
        ),
        *("ucs2_template", "charset", "coding", "headers", "auth", "auth_name", "auth_user", "auth_secret"),
        *(
            "number_format",
            "text_transform",
            "timeout_s",
            "rate",
            "validity_min_s",
            "validity_max_s",
            "no_originator",
            "idempotent",
        ),
        *("id_path", "success_path", "success_values", "success_statuses", "error_path", "error_text_path"),
        *(
            "error_map",
            "http_map",
            "accepted_status_path",
            "segments_path",
            "cost_path",
            "currency_path",
            "currency",
        ),
        *(
            f"report_{name}"
            for name in (
                *("reference_path", "id_path", "status_path", "items_path", "code_path", "text_path"),
                *("recipient_path", "when_path", "when_values", "reply", "check", "check_name", "addresses"),
                *("check_algorithm", "check_optional", "signed", "secret"),
            )
        ),
        *(f"poll_{name}_path" for name in ("items", "id", "status", "code", "text", "recipient")),
        *("status_map", "lookup_id_path", "check_path", "check_values"),
        *("balance_path", "balance_currency_path", "balance_currency", "balance_divisor"),
        *("hooks_items_path", "hooks_url_path", "hooks_id_path"),
    }
)


class Plan:
    """Values by name. Objects may be given as such or as JSON text; what is missing is empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name)
        return default if value in (None, "") else str(value)

    def flag(self, name: str) -> bool:
        return self._values.get(name) in (True, "true")

    def words(self, name: str) -> list[str]:
        """A list, or a text with commas."""
        value = self._values.get(name) or []
        found = value.split(",") if isinstance(value, str) else [str(item) for item in value]
        return [stripped for item in found if (stripped := item.strip())]

    def parsed(self, name: str) -> Any:
        """A template: parsed JSON, or a text for XML and the like."""
        value = self._values.get(name)
        if isinstance(value, str) and value:
            return json.loads(value)
        return value or {}

    def object(self, name: str) -> dict[str, Any]:
        return dict(self.parsed(name))

    @cached_property
    def status_words(self) -> dict[str, MessageStatus]:
        """The gateway's words in small letters; `*` stands for all others."""
        words = self.object("status_map") or DEFAULT_STATUS_MAP
        return {str(word).casefold(): STATUSES[str(ours).lower()] for word, ours in words.items()}

    def status(self, raw: str) -> MessageStatus | None:
        """Ours for the gateway's word; `ESME_*` in the map is for all that begin so, `*` for all others."""
        word, words = raw.casefold(), self.status_words
        if word in words:
            return words[word]
        begins = [key for key in words if key.endswith("*") and word.startswith(key[:-1])]
        return words[max(begins, key=len)] if begins else None

    @cached_property
    def errors(self) -> ErrorTable:
        kinds = {str(code): KINDS[str(kind).lower()] for code, kind in self.object("error_map").items()}
        statuses = {int(code): KINDS[str(kind).lower()] for code, kind in self.object("http_map").items()}
        return ErrorTable(
            code_path=self.text("error_path"),
            text_path=self.text("error_text_path"),
            kinds={code: kind for code, kind in kinds.items() if code != "*"},
            other=kinds.get("*"),
            statuses={**_HTTP_STATUSES, **statuses},
        )
