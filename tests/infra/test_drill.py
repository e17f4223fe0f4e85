"""`make drill` in short: the guides' own steps, with nginx and TLS, PostgreSQL and Redis."""

from __future__ import annotations

import pytest

from sandbox.databases import ServiceMissing
from scripts.drill import Drill


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_is_restarted_and_restored_under_load_and_no_message_is_lost() -> None:
    try:
        with Drill() as drill:
            verdict = drill.run(seconds=4)
    except ServiceMissing as missing:
        pytest.skip(str(missing))

    assert verdict.problems == []
    assert set(verdict.answers) == {200}
    assert verdict.sent > 30
    assert len(verdict.steps) == 7
