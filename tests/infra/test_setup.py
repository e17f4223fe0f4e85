"""scripts/setup, with a Python and a pip that only pretend: when does it build, and when not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sandbox.processes import PROJECT, kill_tree

# Writes down what it was asked to do. `-m venv` makes a folder that looks like an environment.
_FAKE_PYTHON = """#!/bin/bash
case "$*" in
    --version) echo Python 3.11.99 ;;
    *ensurepip*) [ ! -e "$FAKE/no-venv" ] ;;
    "-c "*) exit 0 ;;
    "-m venv "*)
        echo venv >>"$FAKE/calls"
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        echo "#!$3/bin/python" >"$3/bin/pip"
        echo "version = 3.11.99" >"$3/pyvenv.cfg"
        ;;
    "-m pip install "*)
        echo "pip ${@: -1}" >>"$FAKE/calls"
        [ ! -e "$FAKE/slow-pip" ] || sleep 60
        [ ! -e "$FAKE/broken-pip" ] || exit 1
        ;;
    *) exit 64 ;;
esac
"""


class FakeProject:
    """A project with scripts/setup, in a folder whose name has a space."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "the project"
        (self.path / "scripts").mkdir(parents=True)
        shutil.copy(PROJECT / "scripts" / "setup", self.path / "scripts")
        (self.path / "requirements.lock").write_text("one==1\n")
        (self.path / "requirements-dev.lock").write_text("two==2\n")
        self.fake = folder / "fake"
        self.fake.mkdir()
        python = self.fake / "python3.11"
        python.write_text(_FAKE_PYTHON)
        python.chmod(0o755)

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.path / "scripts" / "setup"), *args],
            env={"PATH": f"{self.fake}:/usr/bin:/bin", "FAKE": str(self.fake)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def setup(self, *args: str) -> tuple[int, str]:
        with self.start(*args) as process:
            _, errors = process.communicate(timeout=20)
            return process.returncode, errors

    def calls(self) -> list[str]:
        """What was asked of Python since the last time."""
        file = self.fake / "calls"
        calls = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return calls


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    return FakeProject(tmp_path)


def test_a_second_run_has_nothing_to_do(project: FakeProject) -> None:
    assert project.setup() == (0, "")
    assert project.calls() == ["venv", "pip requirements.lock"]
    assert project.setup("production") == (0, "")
    assert project.calls() == []


def test_development_adds_to_production_and_covers_it(project: FakeProject) -> None:
    project.setup()
    project.calls()
    project.setup("dev")
    assert project.calls() == ["pip requirements-dev.lock"]
    project.setup()
    project.setup("dev")
    assert project.calls() == []


def test_changed_requirements_are_installed(project: FakeProject) -> None:
    project.setup("dev")
    project.calls()
    (project.path / "requirements.lock").write_text("one==1.1\n")
    project.setup()
    assert project.calls() == ["pip requirements.lock"]
    project.setup("dev")
    assert project.calls() == ["pip requirements-dev.lock"]


def test_an_environment_that_moved_is_built_anew(project: FakeProject) -> None:
    project.setup()
    project.calls()
    project.path = project.path.rename(project.path.with_name("elsewhere"))
    project.setup()
    assert project.calls() == ["venv", "pip requirements.lock"]


def test_an_environment_that_lost_its_python_is_built_anew(project: FakeProject) -> None:
    project.setup()
    project.calls()
    (project.path / ".venv" / "bin" / "python").unlink()
    project.setup()
    assert project.calls() == ["venv", "pip requirements.lock"]


def test_an_environment_made_by_hand_is_kept(project: FakeProject) -> None:
    venv = project.path / ".venv"
    made_by_hand = [project.fake / "python3.11", "-m", "venv", venv]
    subprocess.run(made_by_hand, env=os.environ | {"FAKE": str(project.fake)}, check=True)
    (venv / "mine").touch()
    project.calls()
    project.setup()
    assert project.calls() == ["pip requirements.lock"]
    assert (venv / "mine").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_installation_starts_over(project: FakeProject, number: signal.Signals) -> None:
    slow = project.fake / "slow-pip"
    slow.touch()
    with project.start() as process:
        deadline = time.monotonic() + 10
        while not (project.fake / "calls").exists() or "pip" not in (project.fake / "calls").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, number)
        kill_tree(process.pid)
        assert process.wait() != 0
    project.calls()
    slow.unlink()
    assert project.setup() == (0, "")
    assert project.calls() == ["venv", "pip requirements.lock"]
    project.setup()
    assert project.calls() == []


def test_a_failed_installation_says_so_and_is_not_taken_for_done(project: FakeProject) -> None:
    broken = project.fake / "broken-pip"
    broken.touch()
    code, errors = project.setup()
    assert (code, errors) == (
        1,
        "scripts/setup: installing requirements.lock failed; see above, then run it again\n",
    )
    broken.unlink()
    assert project.setup() == (0, "")


def test_two_runs_at_the_same_time_install_once(project: FakeProject) -> None:
    processes = [project.start(kind) for kind in ("dev", "dev", "production")]
    for process in processes:
        with process:
            assert process.communicate(timeout=20)[1] == ""
            assert process.returncode == 0
    calls = project.calls()
    assert calls.count("venv") == 1
    assert calls.count("pip requirements-dev.lock") == 1


def test_a_python_without_venv_gets_one_line_with_the_remedy(project: FakeProject) -> None:
    (project.fake / "no-venv").touch()
    for name in ("python3", "python3.12", "python3.13", "python3.14"):
        shutil.copy(project.fake / "python3.11", project.fake / name)
    code, errors = project.setup()
    assert code == 1
    assert errors == (
        "scripts/setup: python3.11 has no venv module; install it with: apt-get install python3.11-venv\n"
    )
