"""One message's walk: which functions of ours each stop enters, in which files, and with which statements.

    make trace                         a batch of 20 messages, on SQLite
    make trace TRACE="--messages 1"    one message alone
    make trace TRACE="--list submit"   every function and statement of one stop

Watched are the real processes (tracer/sitecustomize.py). The stops are told apart from outside: the worker is
stopped while messages and reports come in, and the gateway reports only when it is told to.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.sections import Section, table
from bench.worlds import MODES, SQLITE, World, world_on
from sandbox.processes import PROJECT, process_tree

STOPS = ("accept", "submit", "report", "tell")
# No final word is told twice. The clock's own work is seen, too, and is small beside a batch.
TIMING = "sweep_s=2,first_push_s=0,push_repeat_s=0"
TRACER = PROJECT / "bench" / "tracer"


@dataclass
class Stop:
    """What all processes did for one stop; counts are of all messages together."""

    functions: Counter[str] = field(default_factory=Counter)
    hops: Counter[str] = field(default_factory=Counter)
    statements: Counter[str] = field(default_factory=Counter)

    @property
    def files(self) -> set[str]:
        return {name.partition(" ")[0] for name in self.functions}

    def add(self, seen: dict[str, dict[str, int]]) -> None:
        for name in ("functions", "hops", "statements"):
            getattr(self, name).update(seen[name])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.trace",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=20)
    parser.add_argument("--database", choices=MODES, default=SQLITE)
    parser.add_argument("--list", choices=STOPS, help="every function and statement of this stop")
    options = parser.parse_args(arguments)
    stops = walk(options.database, options.messages)
    print(summary(options.database, options.messages, stops).markdown())
    if options.list:
        print("\n".join(_everything(stops[options.list])))
    return 0


def walk(mode: str, count: int) -> dict[str, Stop]:
    with tempfile.TemporaryDirectory(prefix="sms-trace-") as folder:
        env = {
            "TIMING": TIMING,
            "PYTHONPATH": str(TRACER),
            "TRACE_DIR": folder,
            "TRACE_APP": str(PROJECT / "app"),
        }
        with world_on(mode, env=env, web_workers=1) as world:
            return _Walk(world, Path(folder)).run(count)


class _Walk:
    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        [self._portal] = world.several(1)
        world.gateway.behave(reports={"words": []})
        # What only the first one does (connections, the first look at a portal) is no part of the walk.
        self.run_once(1)

    def run(self, count: int) -> dict[str, Stop]:
        return self.run_once(count)

    def run_once(self, count: int) -> dict[str, Stop]:
        world, worker = self._world, self._world.stack.worker
        taken = world.gateway.ledger()["accepted"]
        told = self._delivered()
        self._seen()
        worker.pause()
        campaign = self._portal.campaign(
            count, to="+491510000000", text=f"{time.time_ns()} {{n}}", auth="none"
        )
        self._portal.wait_campaign(campaign)
        stops = {"accept": self._seen(paused=True)}
        worker.resume()
        _wait(lambda: world.gateway.ledger()["accepted"] >= taken + count)
        time.sleep(1.5)  # the outcomes are being recorded
        stops["submit"] = self._seen()
        worker.pause()
        for message in list(world.gateway.messages())[taken:]:
            world.gateway.report(message["id"], "ENROUTE")
            world.gateway.report(message["id"], "DELIVRD")
        stops["report"] = self._seen(paused=True)
        worker.resume()
        _wait(lambda: self._delivered() >= told + count)
        time.sleep(1.5)
        stops["tell"] = self._seen()
        return stops

    def _delivered(self) -> int:
        return int(self._portal.count_messages()["statuses"].get("delivered", 0))

    def _seen(self, *, paused: bool = False) -> Stop:
        """What every process did since the last look. One that is stopped has done nothing."""
        pids = process_tree(self._world.stack.web.pid)
        if not paused:
            pids += process_tree(self._world.stack.worker.pid)
        stop = Stop()
        for pid in pids:
            target = self._folder / f"{pid}.json"
            target.unlink(missing_ok=True)
            os.kill(pid, signal.SIGRTMIN)
            _wait(target.exists)
            stop.add(json.loads(target.read_text()))
        return stop


def _wait(is_true: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("a message does not go on")
        time.sleep(0.02)


def summary(mode: str, count: int, stops: dict[str, Stop]) -> Section:
    rows = [[name, *_figures(stop, count)] for name, stop in stops.items()]
    whole = Stop()
    for stop in stops.values():
        whole.add({"functions": stop.functions, "hops": stop.hops, "statements": stop.statements})
    head = ["stop", "functions", "files", "calls a message", "steps between files", "statements", "commits"]
    return Section(
        title="One message's walk",
        text=f"{mode}, {count} messages at once, two reports each; different functions and files of app/,"
        " then calls, steps from file to file, statements and commits for each message.",
        table=table(head, [*rows, ["all", *_figures(whole, count)]]),
        figures={name: _figures(stop, count) for name, stop in stops.items()},
    )


def _figures(stop: Stop, count: int) -> list[float]:
    commits = stop.statements.get("COMMIT", 0)
    return [
        len(stop.functions),
        len(stop.files),
        round(stop.functions.total() / count, 1),
        round(stop.hops.total() / count, 1),
        round((stop.statements.total() - commits) / count, 2),
        round(commits / count, 2),
    ]


def _everything(stop: Stop) -> list[str]:
    lines = [f"{times:>6}  {name}" for name, times in sorted(stop.functions.items())]
    return [*lines, "", *(f"{times:>6}  {text}" for text, times in stop.statements.most_common())]


if __name__ == "__main__":
    sys.exit(main())
