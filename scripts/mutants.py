"""Takes guards away, one at a time, and shows whether a test misses each.

    .venv/bin/python scripts/mutants.py                       # all of them
    .venv/bin/python scripts/mutants.py --only bitrix,tokens  # the lists of these rooms
    .venv/bin/python scripts/mutants.py --match refresh       # guards whose reason has this word

The lists are tests/mutants/*.toml; CONTRIBUTING.md says how an entry is written. Ends with 0 when enough are
caught, 1 when too many survive, 2 when the lists do not fit the code or the tests fail by themselves.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from multiprocessing import get_context
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LISTS = PROJECT / "tests" / "mutants"
ENOUGH = 0.95
# What every test run loads anyway, so that each needs only the product and its own tests.
PRELOADED = (
    "alembic", "babel", "cryptography.fernet", "flask_babel", "flask_migrate", "flask_sqlalchemy", "huey",
"phonenumbers", "prometheus_client", "pytest", "requests", "sentry_sdk",
    "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite",
)  # fmt: skip


class ListWrong(Exception):
    """An entry does not fit the code or the tests; the text says which and what to do."""


@dataclass(frozen=True)
class Guard:
    """One guard: exact source text that is somewhere in `app/` once, and what stands there without it."""

    room: str
    why: str
    code: str
    without: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.room}: {self.why}"


@dataclass(frozen=True)
class Outcome:
    guard: Guard
    word: str  # caught, survived, broken, slow
    seconds: float
    said: str


# --- the lists


def load(folder: Path = LISTS) -> list[Guard]:
    """Every entry of every list.

    Raises:
        ListWrong: an entry lacks something, or there are two of one reason.
    """
    guards: list[Guard] = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("guard", []):
            if missing := {"why", "code", "without", "tests"} - set(entry):
                raise ListWrong(f"{path.name}: an entry lacks {', '.join(sorted(missing))}: {entry}")
            texts = (entry["why"], entry["code"].strip("\n"), entry["without"].strip("\n"))
            guards.append(Guard(path.stem, *texts, tests=tuple(entry["tests"])))
    reasons = [str(guard) for guard in guards]
    if twice := {reason for reason in reasons if reasons.count(reason) > 1}:
        raise ListWrong(f"two entries with one reason: {'; '.join(sorted(twice))}")
    return guards


class Sources:
    """The product's files, to be searched for guards wherever they have moved to."""

    def __init__(self, root: Path) -> None:
        self._texts = {path: path.read_text(encoding="utf-8") for path in sorted(root.glob("app/**/*.py"))}

    def place(self, guard: Guard) -> tuple[Path, str]:
        """The file with the guard, and its text without it.

        Raises:
            ListWrong: the text is not there, or there twice, or what is left is no Python.
        """
        found = [(path, text.count(guard.code)) for path, text in self._texts.items() if guard.code in text]
        if not found:
            raise ListWrong(
                f"{guard}: this text is nowhere in app/ any more. Write the guard as it stands now, or drop"
                f" the entry with the reason in the commit:\n{guard.code}"
            )
        if sum(times for _, times in found) > 1:
            places = ", ".join(f"{path.name} ({times})" for path, times in found)
            raise ListWrong(f"{guard}: this text is in app/ more than once ({places}); add a line of it")
        path = found[0][0]
        text = self._texts[path].replace(guard.code, guard.without)
        try:
            compile(text, str(path), "exec")
        except SyntaxError as error:
            raise ListWrong(f"{guard}: what is left of {path.name} is no Python: {error}") from error
        return path, text


# Tests that live in the product, for others to run, too; and where this repository runs them.
CONTRACT = "app/gateways/kit/contract.py"
CONTRACT_RUN = "tests/gateways/test_contract.py::TestContract"


class Tests:
    """Where tests are, by their names alone: files move, too."""

    def __init__(self, root: Path) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)
        for path in sorted(root.glob("tests/**/test_*.py")):
            file = path.relative_to(root).as_posix()
            for owner, name in _functions(ast.parse(path.read_text(encoding="utf-8"))):
                self._places[name].append("::".join((file, *owner, name)))
        kit = root / CONTRACT
        for _owner, name in _functions(ast.parse(kit.read_text(encoding="utf-8"))) if kit.is_file() else ():
            self._places[name].append(f"{CONTRACT_RUN}::{name}")

    def ids(self, guard: Guard) -> list[str]:
        """What pytest calls the guard's tests. A name may end with a parameter's id in brackets.

        Raises:
            ListWrong: there is no such test, or there are several.
        """
        return [self._id(guard, name) for name in guard.tests]

    def _id(self, guard: Guard, wanted: str) -> str:
        plain, bracket, parameter = wanted.partition("[")
        file, _, name = plain.rpartition("::")
        found = [place for place in self._places[name] if place.partition("::")[0].endswith(file)]
        if len(found) != 1:
            why = f"in {', '.join(found)}: name its file, too" if found else "nowhere in tests/"
            raise ListWrong(f"{guard}: the test {plain} is {why}")
        return found[0] + bracket + parameter


def _functions(tree: ast.Module) -> Iterator[tuple[tuple[str, ...], str]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (), node.name
        elif isinstance(node, ast.ClassDef):
            yield from (
                ((node.name,), part.name)
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            )
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield (), node.targets[0].id  # a stateful test is an assignment


# --- taking them away


class Copy:
    """A copy of the project in which one process takes guards away."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.root = folder / "project"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            cwd=project, capture_output=True, check=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (project / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(project / name, self.root / name)
        self.sources, self.tests = Sources(self.root), Tests(self.root)
        self._moment = count(int(time.time()) + 10)

    def attempt(self, guard: Guard, limit_s: float) -> Outcome:
        path, text = self.sources.place(guard)
        before = path.read_text(encoding="utf-8")
        began = time.monotonic()
        self._write(path, text)
        try:
            code, said = self.run(self.tests.ids(guard), limit_s)
        finally:
            self._write(path, before)
        words = {0: "survived", 1: "caught", None: "slow"}
        return Outcome(guard, words.get(code, "broken"), time.monotonic() - began, said)

    def _write(self, path: Path, text: str) -> None:
        """Python recognises a changed file by its second and size."""
        path.write_text(text, encoding="utf-8")
        moment = next(self._moment)
        os.utime(path, (moment, moment))

    def run(self, ids: Sequence[str], limit_s: float) -> tuple[int | None, str]:
        """What pytest's exit code is, None when it took too long, and its last words."""
        output = self.root.parent / "output"
        child = os.fork()
        if child == 0:
            _run_tests(self.root, ids, output)
        code = _wait(child, limit_s)
        return code, output.read_text(encoding="utf-8", errors="replace")


def _run_tests(root: Path, ids: Sequence[str], output: Path) -> None:
    """In a process of its own, which ends here."""
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.chdir(root)
    sys.path[0] = str(root)
    code: int = 3
    try:
        options = ["-q", "-x", "-n", "0", "--tb=short", "-p", "no:cacheprovider", f"--rootdir={root}"]
        code = import_module("pytest").main([*options, *ids])
    except BaseException:  # pytest itself has one: it belongs into the output, and nothing runs after it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(int(code))


def _wait(child: int, limit_s: float) -> int | None:
    ends = time.monotonic() + limit_s
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)


_copy: Copy


def _settle(project: Path, folder: str) -> None:
    global _copy
    for name in PRELOADED:
        import_module(name)
    _copy = Copy(project, Path(folder, str(os.getpid())))


def _attempt(guard: Guard, limit_s: float) -> Outcome:
    return _copy.attempt(guard, limit_s)


def _as_it_is(ids: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    return _copy.run(ids, limit_s)


# --- the command


def chosen(guards: Sequence[Guard], only: str, match: str) -> list[Guard]:
    rooms = {room for room in only.split(",") if room}
    return [
        guard
        for guard in guards
        if (not rooms or guard.room in rooms) and match.lower() in f"{guard.why}\n{guard.code}".lower()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="rooms, separated by commas")
    parser.add_argument("--match", default="", help="a word of the reason or of the guard")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for the tests of one guard")
    parser.add_argument("--list", action="store_true", help="only what would be taken away")
    parser.add_argument("--lists", type=Path, default=LISTS, help="another folder of lists")
    parser.add_argument("--project", type=Path, default=PROJECT, help="another copy of the project")
    parser.add_argument("--json", action="store_true", help="what became of each, as JSON")
    options = parser.parse_args(arguments)
    try:
        guards = chosen(load(options.lists), options.only, options.match)
    except ListWrong as wrong:
        print(f"mutants: {wrong}", file=sys.stderr)
        return 2
    if wrong_entries := misfits(guards, options.project):
        print("\n".join(f"mutants: {why}" for why in wrong_entries), file=sys.stderr)
        return 2
    if options.list or not guards:
        print("\n".join(map(str, guards)) or "no such guard")
        return 0 if guards else 2
    return _take_away(guards, options)


def misfits(guards: Sequence[Guard], project: Path = PROJECT) -> list[str]:
    """What does not fit the code or the tests, a sentence each."""
    sources, tests = Sources(project), Tests(project)
    found = []
    for guard in guards:
        for look in (sources.place, tests.ids):
            try:
                look(guard)
            except ListWrong as wrong:
                found.append(str(wrong))
    return found


def _take_away(guards: Sequence[Guard], options: argparse.Namespace) -> int:
    jobs, began = min(options.jobs, len(guards)), time.monotonic()
    tests = Tests(options.project)
    ids = sorted({test for guard in guards for test in tests.ids(guard)})
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own inside it
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="sms-mutants-", dir=memory if memory.is_dir() else None) as folder,
        ProcessPoolExecutor(
            jobs, mp_context=get_context("fork"), initializer=_settle, initargs=(options.project, folder)
        ) as pool,
    ):
        parts = [part for part in (ids[first::jobs] for first in range(jobs)) if part]
        for code, said in pool.map(_as_it_is, parts, [options.limit * len(ids)] * len(parts)):
            if code != 0:
                print(f"{said}\nmutants: tests fail with all guards in place", file=sys.stderr)
                return 2
        for outcome in pool.map(_attempt, guards, [options.limit] * len(guards)):
            outcomes.append(outcome)
            if not options.json:
                print(f"{outcome.word:<8} {outcome.seconds:5.1f} s  {outcome.guard}", flush=True)
    return _report(outcomes, time.monotonic() - began, as_json=options.json)


def _report(outcomes: Sequence[Outcome], seconds: float, *, as_json: bool) -> int:
    caught = sum(outcome.word == "caught" for outcome in outcomes)
    if as_json:
        print(json.dumps([{"guard": str(o.guard), "word": o.word} for o in outcomes], indent=1))
    else:
        for outcome in outcomes:
            if outcome.word in ("broken", "slow"):
                print(f"--- {outcome.word}: {outcome.guard}\n{outcome.said[-2000:]}")
        print(f"{caught} of {len(outcomes)} caught ({caught / len(outcomes):.0%}) in {seconds:.0f} s")
        for outcome in outcomes:
            if outcome.word != "caught":
                print(f"  {outcome.word}: {outcome.guard}  (tests: {', '.join(outcome.guard.tests)})")
    return 0 if caught >= ENOUGH * len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
