"""The benchmarks keep what they promise on a small scale, too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_storm_of_refreshes_disconnects_nobody_but_those_whose_token_is_lost() -> None:
    figures = _figures("bench_refresh.py", "--processes=4", "--portals=12", "--sqlite")

    assert figures["grace"]["refreshed_once"] == 12
    assert figures["grace"]["disconnected"] == 0
    strict = figures["strict"]
    assert strict["disconnected"] == strict["portals_with_a_lost_answer"] > 0
    assert strict["messages_delivered_meanwhile"] == strict["healed"] == strict["disconnected"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gateway_that_hangs_does_not_hold_up_the_others() -> None:
    figures = _figures("bench_fairness.py", "--backlog=40", "--messages=30", "--portals=2", "--sqlite")

    # Without the limit of threads for one account they would wait for its calls: 20 seconds.
    assert figures["beside"]["to_gateway_p50_ms"] < 10_000
    assert figures["beside"]["handler_p50_ms"] < 2_000


def _figures(script: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", *options, "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
