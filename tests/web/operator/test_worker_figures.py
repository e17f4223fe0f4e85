"""What workers count is seen at /metrics of any web process."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.jobs.tick import keep_counts
from app.services import services
from app.store.database import StoreUnavailable
from app.store.figures import worker_counts
from tests.worlds.product import product


def shown(app: Flask) -> dict[str, float]:
    answer = app.test_client().get("/metrics", headers={"Authorization": "Bearer a token for tests"})
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_the_counts_of_two_rounds_are_added_up(tmp_path: Path) -> None:
    with product(tmp_path, METRICS_TOKEN="a token for tests") as app:
        for seconds in (0.2, 40.0):
            services().counts.add("sms_gateway_requests_total", gateway="acme", outcome="Accepted")
            services().counts.observe("sms_gateway_duration_seconds", seconds, gateway="acme")
            keep_counts(services())

        figures = shown(app)

    assert figures['sms_gateway_requests_total{gateway="acme",outcome="Accepted"}'] == 2
    assert figures['sms_gateway_duration_seconds_bucket{gateway="acme",le="0.25"}'] == 1
    assert figures['sms_gateway_duration_seconds_bucket{gateway="acme",le="60.0"}'] == 2
    assert figures['sms_gateway_duration_seconds_bucket{gateway="acme",le="+Inf"}'] == 2
    assert figures['sms_gateway_duration_seconds_sum{gateway="acme"}'] == pytest.approx(40.2)


def test_counts_outlast_a_database_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_down(_counted: object) -> None:
        raise StoreUnavailable("down")

    with product(tmp_path, METRICS_TOKEN="a token for tests") as app:
        services().counts.add("sms_lease_lost_total")
        with monkeypatch.context() as patch:
            patch.setattr(worker_counts, "add", is_down)
            keep_counts(services())
        keep_counts(services())

        assert shown(app)["sms_lease_lost_total"] == 1


def test_the_release_that_runs_is_named(tmp_path: Path) -> None:
    with product(tmp_path, METRICS_TOKEN="a token for tests") as app:
        assert any(name.startswith("sms_build_info{") for name in shown(app))
