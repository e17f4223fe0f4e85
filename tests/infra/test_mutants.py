"""The list of guards fits the code, and the command that takes them away tells what it found."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sandbox.processes import PROJECT

SCRIPT = PROJECT / "scripts" / "mutants.py"


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def _run(*options: str) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--jobs", "2", *options],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = [found["word"] for found in json.loads(done.stdout)] if done.stdout else []
    return done.returncode, words, done.stderr


def _list(folder: Path, *, code: str, without: str, test: str) -> str:
    (folder / "some.toml").write_text(
        f"[[guard]]\nwhy = 'a guard'\ncode = '''{code}'''\nwithout = '''{without}'''\ntests = ['{test}']\n"
    )
    return str(folder)


def test_every_guard_of_the_lists_is_in_the_code_once_and_has_its_tests(mutants: ModuleType) -> None:
    guards = mutants.load()

    assert mutants.misfits(guards) == []
    assert len(guards) >= 150


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"code": "if nobody_wrote_this():"}, "nowhere in app/"),
        ({"code": "return"}, "more than once"),
        ({"without": "if if:"}, "no Python"),
        ({"test": "test_nobody_wrote_this"}, "nowhere in tests/"),
    ],
)
def test_an_entry_that_does_not_fit_is_said_in_a_sentence(
    tmp_path: Path, entry: dict[str, str], said: str
) -> None:
    good = {
        "code": "return heard if heard.rank > current.rank else current",
        "without": "return heard",
        "test": "test_a_status_never_goes_down",
    }

    code, _, error = _run("--lists", _list(tmp_path, **{**good, **entry}))

    assert code == 2
    assert said in error


@pytest.mark.slow
def test_some_guards_are_missed_when_they_are_gone() -> None:
    """The short form; `make mutants` takes all of them away."""
    code, words, error = _run("--only", "domain", "--match", "part")

    assert (code, error) == (0, ""), error
    assert len(words) >= 4
    assert set(words) == {"caught"}


@pytest.mark.slow
def test_a_guard_that_no_test_misses_is_told(tmp_path: Path) -> None:
    folder = _list(
        tmp_path,
        code="return heard if heard.rank > current.rank else current",
        without="return current if heard.rank <= current.rank else heard",
        test="test_a_status_never_goes_down",
    )

    assert _run("--lists", folder) == (1, ["survived"], "")
