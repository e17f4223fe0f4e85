"""The commands that a newcomer and CI type."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.processes import PROJECT


def test_make_without_a_target_lists_them_all() -> None:
    done = subprocess.run(["make", "-C", PROJECT], capture_output=True, text=True, check=True)
    listed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")]
    phony = next(
        line for line in (PROJECT / "Makefile").read_text().splitlines() if line.startswith(".PHONY")
    )
    assert listed == phony.removeprefix(".PHONY: ").split()


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/prerequisites", ".ci/run"])
def test_scripts_are_executable_and_well_formed(script: str) -> None:
    assert os.access(PROJECT / script, os.X_OK)
    subprocess.run(["bash", "-n", PROJECT / script], check=True)


@pytest.mark.parametrize(
    ("make_says", "make_code", "last_line"),
    [
        ("=== 3 passed in 0.10s ===", 0, "=== 3 passed in 0.10s ==="),
        (
            "=== 1 failed in 61.00s (0:01:01) ===\nmake: *** Error 1",
            2,
            "=== 1 failed in 61.00s (0:01:01) ===",
        ),
        ("would reformat x.py\nmake: *** Error 1", 2, "no tests were run: see above"),
    ],
)
def test_ci_ends_with_the_closing_line_of_pytest(
    tmp_path: Path, make_says: str, make_code: int, last_line: str
) -> None:
    project = tmp_path / "a project"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(PROJECT / ".ci" / "run", project / ".ci")
    make = tmp_path / "make"
    make.write_text(
        f'#!/bin/sh\n[ "$FAIL_ON_SKIP" = 1 ] || exit 9\ncat <<"E"\n{make_says}\nE\nexit {make_code}\n'
    )
    make.chmod(0o755)
    done = subprocess.run(
        [project / ".ci" / "run"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bool(done.returncode) == bool(make_code)
    assert done.stdout.splitlines()[-1] == last_line
    assert done.stdout.count("===") <= 4
