"""What the gateway saw and did: in memory for quick answers, and appended to a file as it happens."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE_NAME = "gateway-ledger.jsonl"
_SAMPLE = 100


class Message:
    """One message that the gateway took."""

    __slots__ = (
        "account",
        "at",
        "callback",
        "copy",
        "id",
        "number",
        "originator",
        "reference",
        "sent",
        "text",
        "to",
    )

    def __init__(self, number: int, account: str, entry: dict[str, Any], copy: int) -> None:
        self.number = number
        self.id = f"G{number:08d}"
        self.account = account
        self.to: str = entry["to"]
        self.text: str = entry["text"]
        self.originator: str = entry["from"]
        self.reference: str = entry["reference"]
        self.callback: str = entry["callback"]
        self.at: float = entry["at"]
        self.copy = copy  # 1 for the first message of its key, 2 for its first double
        self.sent: list[tuple[str, int]] = []  # word and the answer's status, for each report that was sent

    @property
    def final(self) -> str:
        """The last word of a report that was answered 2xx; empty when there is none yet."""
        return next((word for word, status in reversed(self.sent) if 200 <= status < 300), "")

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "account": self.account,
            "to": self.to,
            "from": self.originator,
            "text": self.text,
            "reference": self.reference,
            "at": self.at,
            "copy": self.copy,
            "final": self.final,
            "reports": [{"status": word, "answer": status} for word, status in self.sent],
        }


class Ledger:
    """All counts are kept as things happen, so asking costs the same with a hundred thousand messages."""

    def __init__(self, state_dir: Path | None = None, *, fsync: bool = False) -> None:
        self._lock = threading.Lock()
        self._fsync = fsync
        self._fd: int | None = None
        self._clear_memory()
        if state_dir is not None:
            state_dir.mkdir(parents=True, exist_ok=True)
            path = state_dir / FILE_NAME
            self._replay(path)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _clear_memory(self) -> None:
        self.messages: list[Message] = []
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.doubles: list[str] = []
        self._by_id: dict[str, Message] = {}
        self._by_reference: dict[tuple[str, str], Message] = {}
        self._copies: Counter[tuple[str, str, str]] = Counter()
        self._attempts: Counter[tuple[str, str, str]] = Counter()

    def next_attempt(self, account: str, to: str, text: str) -> int:
        """How often this message was submitted, this time included."""
        key = (account, to, text)
        with self._lock:
            self._attempts[key] += 1
            return self._attempts[key]

    def record_submission(
        self, account: str, entry: dict[str, Any], answer: str, *, take: bool, deduplicate: bool = False
    ) -> tuple[Message | None, bool]:
        """Write down one submission; returns the message if it is or was taken, and whether it is new."""
        entry = {"event": "submission", "at": time.time(), "account": account, "answer": answer, **entry}
        with self._lock:
            known = self._by_reference.get((account, entry["reference"])) if take and deduplicate else None
            is_new = take and known is None
            message = self._take(account, entry) if is_new else known
            self.counts["repeated"] += known is not None
            self.counts["submissions"] += 1
            self.answers[answer] += 1
            entry["id"] = message.id if message else None
            entry["repeated"] = known is not None
            self._append(entry)
        return message, is_new

    def _take(self, account: str, entry: dict[str, Any]) -> Message:
        key = (account, entry["to"], entry["text"])
        self._copies[key] += 1
        message = Message(len(self.messages) + 1, account, entry, self._copies[key])
        self.messages.append(message)
        self._by_id[message.id] = message
        if message.reference:
            self._by_reference.setdefault((account, message.reference), message)
        self.counts["accepted"] += 1
        if message.copy > 1:
            self.counts["doubles"] += 1
            if len(self.doubles) < _SAMPLE:
                self.doubles.append(message.id)
        return message

    def record_report(self, message: Message, word: str, status: int, attempt: int) -> None:
        """Write down one report that was sent; `status` 0 is one that got no answer."""
        at = time.time()
        with self._lock:
            message.sent.append((word, status))
            self.counts["reports"] += 1
            self.counts["reports_taken" if 200 <= status < 300 else "reports_refused"] += 1
            self._append(
                {
                    "event": "report",
                    "at": at,
                    "id": message.id,
                    "status": word,
                    "answer": status,
                    "attempt": attempt,
                }
            )

    def record_given_up(self, message: Message, word: str) -> None:
        """Write down a report that will not be sent again."""
        with self._lock:
            self.counts["reports_given_up"] += 1
            self._append({"event": "given_up", "at": time.time(), "id": message.id, "status": word})

    def find(self, message_id: str) -> Message | None:
        return self._by_id.get(message_id)

    def find_reference(self, account: str, reference: str) -> Message | None:
        return self._by_reference.get((account, reference))

    def summary(self) -> dict[str, Any]:
        """The counts; `distinct` messages were accepted, `doubles` on top of them."""
        with self._lock:
            counts = {
                name: self.counts[name]
                for name in (
                    "submissions",
                    "accepted",
                    "doubles",
                    "repeated",
                    "reports",
                    "reports_taken",
                    "reports_refused",
                    "reports_given_up",
                )
            }
            return {
                **counts,
                "distinct": len(self._copies),
                "answers": dict(self.answers),
                "double_ids": list(self.doubles),
            }

    def page(self, after: int, limit: int) -> list[Message]:
        """Messages in the order in which they were taken."""
        with self._lock:
            return self.messages[after : after + limit]

    def clear(self) -> None:
        """Forget everything; the file starts anew too."""
        with self._lock:
            self._clear_memory()
            if self._fd is not None:
                os.ftruncate(self._fd, 0)

    def close(self) -> None:
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _append(self, entry: dict[str, Any]) -> None:
        if self._fd is None:
            return
        os.write(self._fd, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        if self._fsync:
            os.fsync(self._fd)

    def _replay(self, path: Path) -> None:
        """Remember what the file of an earlier run says: a gateway does not forget when it restarts."""
        for entry in _entries(path):
            if entry.get("event") == "submission":
                self._replay_submission(entry)
            elif entry.get("event") == "report" and (message := self._by_id.get(entry["id"])):
                message.sent.append((entry["status"], entry["answer"]))
                taken = 200 <= entry["answer"] < 300
                self.counts["reports"] += 1
                self.counts["reports_taken" if taken else "reports_refused"] += 1
            elif entry.get("event") == "given_up":
                self.counts["reports_given_up"] += 1

    def _replay_submission(self, entry: dict[str, Any]) -> None:
        self._attempts[(entry["account"], entry["to"], entry["text"])] += 1
        self.counts["submissions"] += 1
        self.answers[entry["answer"]] += 1
        if entry["repeated"]:
            self.counts["repeated"] += 1
        elif entry["id"]:
            self._take(entry["account"], entry)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            # The last line may be half of one, when the process was killed while it wrote.
            with suppress(ValueError):
                yield json.loads(line)
