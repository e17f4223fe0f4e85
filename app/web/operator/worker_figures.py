"""What the workers count, as Prometheus wants to see it. They add it to rows: nobody can scrape a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.domain.counting import SECONDS, Series
from app.store.database import StoreUnavailable
from app.store.figures import worker_counts

COUNTERS = {
    "sms_gateway_requests": "Submissions by gateway and outcome",
    "sms_portal_push": "Statuses that portals were told, or refused",
    "sms_lease_lost": "Claims whose worker was gone",
    "sms_lost_hints": "Hints that the job engine did not take; the sweeper does their work",
}
HISTOGRAMS = {
    "sms_gateway_duration_seconds": "Time until a gateway's answer",
    "sms_portal_push_lag_seconds": "From the moment a status was due to the portal's answer",
}


class WorkerFigures(Collector):
    """The sums of all workers on all machines, the same whichever web process is asked."""

    def collect(self) -> Iterator[Metric]:
        try:
            totals = worker_counts.totals()
        except StoreUnavailable:
            return
        for name, meaning in COUNTERS.items():
            yield from _counter(name, meaning, totals)
        for name, meaning in HISTOGRAMS.items():
            yield from _histogram(name, meaning, totals)


def _of(name: str, totals: Mapping[Series, float]) -> list[tuple[tuple[tuple[str, str], ...], float]]:
    return [(series.labels, value) for series, value in totals.items() if series.name == name]


def _counter(name: str, meaning: str, totals: Mapping[Series, float]) -> Iterator[Metric]:
    lines = _of(f"{name}_total", totals)
    if lines:
        family = CounterMetricFamily(name, meaning, labels=[label for label, _ in lines[0][0]])
        for labels, value in lines:
            family.add_metric([word for _, word in labels], value)
        yield family


def _histogram(name: str, meaning: str, totals: Mapping[Series, float]) -> Iterator[Metric]:
    """Buckets are kept one by one; Prometheus wants each to hold the smaller ones, too."""
    lines = _of(f"{name}_count", totals)
    if not lines:
        return
    family = HistogramMetricFamily(name, meaning, labels=[label for label, _ in lines[0][0]])
    for labels, count in lines:
        buckets, so_far = [], 0.0
        for limit in SECONDS:
            so_far += totals.get(Series(f"{name}_bucket", tuple(sorted((*labels, ("le", str(limit)))))), 0.0)
            buckets.append((str(limit), so_far))
        total = totals.get(Series(f"{name}_sum", labels), 0.0)
        family.add_metric([word for _, word in labels], [*buckets, ("+Inf", count)], total)
    yield family
