"""Logs are events with fields, one JSON object a line. Tokens, texts and numbers are never among them."""

from __future__ import annotations

import json
import logging
import select
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from app import redaction

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
log = logging.getLogger(__name__)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        own = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": redaction.hide(record.getMessage()),
            "room": record.name,
        }
        given = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        taken = {*own, "trace", "stack"}  # a field of the same name must not take the line's own place
        fields = {f"{key}_" if key in taken else key: value for key, value in given.items()}
        line = {**own, **redaction.hide_all(fields)}
        if record.exc_info:
            line["trace"] = redaction.hide(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redaction.hide(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


class Lines(logging.StreamHandler):  # type: ignore[type-arg]
    """Whoever reads our lines may hang, and no message must wait for them: then lines are lost, and counted.

    Processes that share a pipe look one after the other: what is left of it may go to another one in between.
    """

    PATIENCE_MS = 100
    _lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not self._has_room(0 if self._lost else self.PATIENCE_MS):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            extra = {"level": "warning", "event": "log lines were lost: nobody read them", "lines": lost}
            self.stream.write(json.dumps(extra) + self.terminator)
        super().emit(record)

    def _has_room(self, patience_ms: int) -> bool:
        """Whether a line can be written without waiting for a reader."""
        try:
            writable = select.poll()
            writable.register(self.stream.fileno(), select.POLLOUT)
            return bool(writable.poll(patience_ms))
        except (AttributeError, OSError, ValueError):  # no file, or none any more
            return True

    def handleError(self, record: logging.LogRecord) -> None:
        """The standard library would print message and arguments as they are."""
        kind = (sys.exc_info()[0] or Exception).__name__
        line = {
            "level": "error",
            "event": "a log line could not be written",
            "room": record.name,
            "why": kind,
        }
        try:
            self.stream.write(json.dumps(line) + self.terminator)
        except Exception:  # noqa: S110 - the log itself is gone; the work goes on
            pass


def set_up(level: str, *, secrets: Iterable[str] = ()) -> None:
    """One handler for every logger of the process, libraries' too; `secrets` never appear in a line."""
    redaction.know(secrets)
    handler = Lines(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("huey", "alembic", "werkzeug"):  # urllib3 quotes addresses: see app.transport.client
        logging.getLogger(chatty).setLevel(max(logging.WARNING, getattr(logging, level)))
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_ended


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """A thread that an exception ends would print its trace past the log."""
    if ended.exc_type is SystemExit or ended.exc_value is None:
        return
    name = ended.thread.name if ended.thread else ""
    log.error("a thread ended by an exception", exc_info=ended.exc_value, extra={"thread_name": name})
