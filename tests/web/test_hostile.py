"""Some hundred hostile calls over every route; `make hostile` makes ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.hostile import besieged


@pytest.mark.slow
def test_hostile_calls_over_every_route_bring_nothing(tmp_path: Path) -> None:
    with besieged(tmp_path, seed=3) as siege:
        outcome = siege.run(calls=400)

    assert list(outcome.lines())[3:] == []
    assert outcome.is_clean
    assert outcome.routes > 50
    assert outcome.answers[200] > 20  # somebody's own pages: the calls are not refused by their shape alone
