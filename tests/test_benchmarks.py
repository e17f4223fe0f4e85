"""The benchmark of refreshes keeps what it promises on a small scale, too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_storm_of_refreshes_disconnects_nobody_but_those_whose_token_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/bench_refresh.py", "--processes=4", "--portals=12", "--sqlite", "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["grace"]["refreshed_once"] == 12
    assert figures["grace"]["disconnected"] == 0
    strict = figures["strict"]
    assert strict["disconnected"] == strict["portals_with_a_lost_answer"] > 0
    assert strict["messages_delivered_meanwhile"] == strict["healed"] == strict["disconnected"]
