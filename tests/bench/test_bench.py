"""The benchmarks keep what they promise on a small scale, too: `make bench BENCH="--short ..."`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench.sections import Section
from bench.trace import STOPS, walk
from bench.worlds import SQLITE

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_storm_of_refreshes_disconnects_nobody_but_those_whose_token_is_lost() -> None:
    figures = _figures("refresh")

    assert figures["grace"]["refreshed_once"] == 12
    assert figures["grace"]["disconnected"] == 0
    strict = figures["strict"]
    assert strict["disconnected"] == strict["portals_with_a_lost_answer"] > 0
    assert strict["messages_delivered_meanwhile"] == strict["healed"] == strict["disconnected"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gateway_that_hangs_does_not_hold_up_the_others() -> None:
    found = _figures("fairness")["SQLite"]

    # Without the limit of threads for one account they would wait for its calls: 20 seconds.
    assert found["hang"]["to the gateway p50"] < 10_000
    assert found["hang"]["HANDLER p50"] < 2_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_crowds_at_once_cost_neither_a_message_nor_a_report() -> None:
    """Forged installations, checks of a gateway that hangs, and bodies that are never finished."""
    found = _figures("crowd", is_as_promised=None)["SQLite"]

    assert found["lost"] == 0
    assert set(found["crowded"]["HANDLER"]["answers"]) == {"200"}
    assert set(found["crowded"]["reports"]["answers"]) == {"200"}
    assert found["unfinished"] > 50
    assert found["heard"]["checks"]["503"] > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_storm_over_smpp_loses_doubles_and_misjudges_nothing() -> None:
    figures = _figures("smpp")

    assert [figures[bad] for bad in ("lost", "taken_twice", "wrong_status")] == [0, 0, 0]
    assert min(figures["bound"], figures["without_an_answer"], figures["delivered"]) > 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_message_of_a_round_is_told_and_every_part_is_measured() -> None:
    figures = _figures("message")

    product = figures["this product, SQLite"]
    assert set(product["ms"]) == {"web", "worker"}
    assert min(product["per_s"], product["doubles_ms"], *product["memory_mb"]) > 0
    assert {"this product, SQLite: nothing", "the same, threads"} <= set(figures["alone"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_growth_measures_the_same_deeds_beside_few_and_many() -> None:
    few, many = _figures("growth")["SQLite"]

    assert set(few) == set(many) >= {"HANDLER", "report", "first page of the log"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_page_is_measured_by_the_processor_time_that_it_takes() -> None:
    found = _figures("pages")["SQLite"]

    assert {"overview", "statistics, 30 days", "log"} <= set(found)
    assert min(found.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_walk_shows_what_each_stop_enters() -> None:
    stops = walk(SQLITE, 2)

    assert tuple(stops) == STOPS
    for name, function in (
        ("accept", "receive_message"),
        ("submit", ".submit"),
        ("report", "receive_reports"),
        ("tell", "update_message_status"),
    ):
        assert any(function in entered for entered in stops[name].functions), name
        assert stops[name].statements, name
    assert not any("receive_reports" in entered for entered in stops["accept"].functions)


def test_tables_go_to_their_place_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Before\n\n{bench.BEGIN}\nold figures\n{bench.END}\n\nAfter\n")
    monkeypatch.setattr(bench, "PAGE", page)

    bench._write("A machine.", [Section("Some cost", "What was done.", ["| a |"], {})])

    text = page.read_text()
    assert text.startswith("# Before")
    assert text.endswith("After\n")
    assert "A machine." in text
    assert "## Some cost" in text
    assert "old figures" not in text


def test_the_page_has_a_place_for_the_tables() -> None:
    page = bench.PAGE.read_text(encoding="utf-8")

    assert page.index(bench.BEGIN) < page.index(bench.END)


def _figures(name: str, *, is_as_promised: bool | None = True) -> dict[str, Any]:
    """What one benchmark found in its short form. None: a busy machine may be slower than we promise."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--short", "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert is_as_promised is None or done.returncode == 0, done.stdout + done.stderr
    [figures] = json.loads(done.stdout).values()
    return dict(figures)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_portal_works_that_removed_the_app_and_installed_it_again() -> None:
    found = _figures("reinstalls")["SQLite"]

    assert found["portals that work"] == found["portals"] == 8
    assert found["messages told wrongly"] == 0
    assert found["forged events"] > 0
