"""Everything that the portal saw and did, in order, in memory and as JSON lines."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

_FLUSH_EVERY_S = 0.5


class Ledger:
    """Append-only. Every entry has `n` (counts up from 1), `at` (unix seconds), `kind` and `portal`."""

    def __init__(self, state_dir: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = []
        self._cleared = 0
        self._counts: Counter[tuple[int, str]] = Counter()
        self._file: TextIO | None = None
        if state_dir is not None:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._file = (state_dir / "portal-ledger.jsonl").open("a", encoding="utf-8")
            threading.Thread(target=self._flush_often, daemon=True).start()

    def record(self, kind: str, portal: int, outcome: object = "", **fields: Any) -> None:
        """`outcome` is what `counts` groups by, besides kind and portal: an HTTP status or an error."""
        with self._lock:
            entry = {
                "n": self._cleared + len(self._entries) + 1,
                "at": round(time.time(), 4),
                "kind": kind,
                "portal": portal,
            }
            if outcome != "":
                entry["outcome"] = outcome
            entry.update(fields)
            self._entries.append(entry)
            self._counts[portal, f"{kind}:{outcome}" if outcome != "" else kind] += 1
            if self._file is not None:
                self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    def find(
        self,
        *,
        kind: str | None = None,
        portal: int | None = None,
        since: int = 0,
        limit: int | None = None,
        **equal: str,
    ) -> list[dict[str, Any]]:
        """Entries with n > `since`, oldest first; `equal` compares further fields as text."""
        with self._lock:
            entries = self._entries[max(0, since - self._cleared) :]
        found = []
        for entry in entries:
            if kind is not None and entry["kind"] != kind:
                continue
            if portal is not None and entry["portal"] != portal:
                continue
            if any(str(entry.get(name)) != value for name, value in equal.items()):
                continue
            found.append(entry)
            if limit is not None and len(found) >= limit:
                break
        return found

    def counts(self, portal: int | None = None) -> dict[str, int]:
        """`kind:outcome` -> how often; over all portals unless one is named."""
        total: Counter[str] = Counter()
        with self._lock:
            for (number, name), count in self._counts.items():
                if portal is None or number == portal:
                    total[name] += count
        return dict(sorted(total.items()))

    def counts_by_portal(self, name: str) -> dict[str, int]:
        """How often `kind:outcome` happened, per portal number."""
        with self._lock:
            return {str(number): count for (number, key), count in self._counts.items() if key == name}

    @property
    def last(self) -> int:
        return self._cleared + len(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._cleared += len(self._entries)
            self._entries.clear()
            self._counts.clear()

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _flush_often(self) -> None:
        while True:
            time.sleep(_FLUSH_EVERY_S)
            with self._lock:
                if self._file is None:
                    return
                self._file.flush()
