"""Alive, fit for traffic, and the figures of the operator's monitoring."""

from __future__ import annotations

import hmac
import os
import re
import socket
from collections.abc import Iterator

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from app.bitrix.errors import is_known_code
from app.services import services
from app.store import instances
from app.store.database import StoreUnavailable
from app.store.database.deadlines import within
from app.store.figures import incidents, operations
from app.store.job_runs import last_runs
from app.store.messages import messages
from app.store.portals import rest_log
from app.version import VERSION
from app.web.operator.worker_figures import WorkerFigures

blueprint = Blueprint("health", __name__)

STORE_WITHIN_S = 1.5
CODES_SHOWN = 20
_CHALLENGE = re.compile(r"[0-9a-f]{32}")


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process is alive. A database that is down is no reason to kill it.

    To a `challenge` it proves which installation it belongs to: `doctor` asks at PUBLIC_URL.
    """
    answer = _text(200, "ok")
    challenge = request.args.get("challenge", "")
    if _CHALLENGE.fullmatch(challenge):
        answer.headers["Installation"] = services().config.proofs(challenge)[0]
    return answer


@blueprint.get("/readyz")
def readyz() -> Response:
    """Fit for traffic: the database takes writes and has our schema."""
    try:
        with within(STORE_WITHIN_S):
            problem = operations.problem()
            is_drained = not problem and instances.is_drained(socket.gethostname())
    except StoreUnavailable as error:
        problem, is_drained = f"it does not answer ({error})", False
    if problem:
        return _text(503, f"the database: {problem}")
    return _text(503, "drained by the operator") if is_drained else _text(200, "ready")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus text for `Authorization: Bearer METRICS_TOKEN`; closed where no token is set."""
    token = services().config.metrics_token
    if not token:  # behind a proxy every caller looks local, so nobody is let in for where they come from
        return _text(403, "closed: set METRICS_TOKEN to open it")
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return _text(403, "send METRICS_TOKEN as a bearer token")
    rows = CollectorRegistry()
    rows.register(_Rows())
    rows.register(WorkerFigures())
    body = generate_latest(_counters()) + generate_latest(rows)
    return Response(body, content_type=CONTENT_TYPE_LATEST)


def _counters() -> CollectorRegistry:
    """What all processes of this web server have counted, or this one alone where nobody adds them up."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # set by gunicorn.conf.py for its workers
        return REGISTRY
    all_processes = CollectorRegistry()
    multiprocess.MultiProcessCollector(all_processes)  # type: ignore[no-untyped-call]
    return all_processes


class _Rows(Collector):
    """Gauges that are the same whichever process is asked."""

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("sms_queue_depth", "Rows by kind of work", labels=["stage"])
        oldest = GaugeMetricFamily("sms_queue_oldest_age_seconds", "Age of the oldest due row")
        states = GaugeMetricFamily("sms_portals", "Portals by state", labels=["state"])
        attention = GaugeMetricFamily("sms_attention", "Messages to look at", labels=["why"])
        troubled = GaugeMetricFamily(
            "sms_gateway_accounts_troubled", "Accounts by trouble", labels=["trouble"]
        )
        open_incidents = GaugeMetricFamily("sms_incidents", "Open incidents by kind", labels=["kind"])
        unknown = GaugeMetricFamily(
            "sms_portal_unknown_errors",
            "Answers of portals in the last days with a code that we do not know",
            labels=["code"],
        )
        build = InfoMetricFamily("sms_build", "The release that runs", value={"version": VERSION})
        handler = GaugeMetricFamily(
            "sms_last_handler_call_timestamp_seconds",
            "When a portal last handed over a message",
        )
        heartbeat = GaugeMetricFamily(
            "sms_worker_heartbeat_age_seconds", "Since a worker last swept; no line before the first"
        )
        try:
            if (last := operations.last_handler_call_at()) is not None:
                handler.add_metric([], last.timestamp())
            if (swept := last_runs().get("sweep")) is not None:
                heartbeat.add_metric([], max(0.0, (services().now() - swept).total_seconds()))
            for kind, count in incidents.open_by_kind().items():
                open_incidents.add_metric([kind], count)
            for code, count in _unknown_codes().items():
                unknown.add_metric([code], count)
            for why, count in operations.attention().items():
                attention.add_metric([why], count)
            for trouble, count in operations.accounts_by_trouble().items():
                troubled.add_metric([trouble], count)
            for stage, count in messages.backlog().items():
                depth.add_metric([stage], count)
            oldest.add_metric([], operations.oldest_due_s(services().now()))
            for state, count in operations.portals_by_state().items():
                states.add_metric([state], count)
        except StoreUnavailable:
            pass  # the counters of this process are still worth showing
        yield from (build, handler, heartbeat, depth, oldest, states, attention, troubled)
        yield from (open_incidents, unknown)


def _unknown_codes() -> dict[str, int]:
    """The most frequent ones. Portals choose these words, so the rest counts as one."""
    counts = {code: count for code, count in rest_log.error_counts().items() if not is_known_code(code)}
    ordered = sorted(counts, key=lambda code: (-counts[code], code))
    shown = {code: counts[code] for code in ordered[:CODES_SHOWN]}
    if rest := sum(counts[code] for code in ordered[CODES_SHOWN:]):
        shown["other"] = rest
    return shown


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status=status, content_type="text/plain; charset=utf-8")
