"""What the web processes count. Gauges of queues and portals are read from the rows when somebody asks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

log = logging.getLogger(__name__)

_handler_calls = Counter("sms_webhook_requests", "HANDLER calls by what became of them", ["result"])
_handler_seconds = Histogram(
    "sms_webhook_duration_seconds",
    "Time to answer a HANDLER call",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)
_reports = Counter("sms_dlr", "Delivery reports by gateway and status", ["gateway", "status"])


def handler_call(result: str, seconds: float) -> None:
    with _in_nobodys_way():
        _handler_calls.labels(result).inc()
        _handler_seconds.observe(seconds)


def report(gateway: str, status: str | None) -> None:
    with _in_nobodys_way():
        _reports.labels(gateway, status or "not_understood").inc()


@contextmanager
def _in_nobodys_way() -> Iterator[None]:
    """What is counted is stored already. The counters are files in memory, and may find no room there."""
    try:
        yield
    except Exception as error:
        log.warning("not counted", extra={"why": type(error).__name__})
