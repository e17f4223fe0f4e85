"""What a message costs: processor time of every process, beside what others would use for the same work.

All contenders are up at the same time, each with databases and doubles of its own, and work in turn; the
figures are medians of the rounds. Processor time comes from /proc, so a busy machine changes it less than the
rate. Then the HANDLER alone, without workers, beside a request that does nothing and beside a provider that
forwards inside the request.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.caller import Heard, Order, call
from bench.handler_calls import handler_order, handler_url
from bench.peers.doubles import doubles
from bench.peers.kannel import is_installed, kannel
from bench.peers.usual import pipeline, web_server
from bench.sections import Section, figure, table
from bench.usage import Meter, memory_mb
from bench.work import GATEWAY_S, hand_over
from bench.worlds import MODES, SQLITE, World, world_on
from sandbox.databases import Postgres, Redis
from sandbox.processes import free_port

PORTALS = 4
# Pauses that wait for company or for the portal's own races are no work.
TIMING = "first_push_s=0,push_repeat_s=0"
# A peer that cannot be had here (no network for its packages, no such program) is left out and named.
UNAVAILABLE = (OSError, RuntimeError, subprocess.SubprocessError)


class Contender(Protocol):
    name: str
    parts: dict[str, int]  # pids
    doubles: dict[str, int]

    def work(self, count: int) -> float:
        """Seconds from the first call until the last message's end was told."""


class Product:
    def __init__(self, mode: str, world: World) -> None:
        self.name = f"this product, {mode}"
        self.parts = world.parts
        self.doubles = world.doubles
        self.world = world
        self.portals = world.several(PORTALS)
        world.gateway.behave(latency_s=GATEWAY_S)

    def work(self, count: int) -> float:
        return hand_over(self.world.portal, [portal.portal for portal in self.portals], count)


@dataclass
class Rounds:
    """What was measured of one contender; milliseconds of processor time a message."""

    per_s: list[float] = field(default_factory=list)
    ms: dict[str, list[float]] = field(default_factory=dict)
    doubles_ms: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def one(self, contender: Contender, count: int) -> None:
        meter, doubles_meter = Meter(contender.parts), Meter(contender.doubles)
        took_s = contender.work(count)
        for name, used in meter.used_s().items():
            self.ms.setdefault(name, []).append(used / count * 1000)
        self.doubles_ms.append(sum(doubles_meter.used_s().values()) / count * 1000)
        self.per_s.append(count / took_s)
        self.memory.append(sum(memory_mb(pid) for pid in contender.parts.values()))

    def median_ms(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.ms.items()}

    def own_ms(self) -> float:
        """Without the servers that it uses."""
        return sum(ms for name, ms in self.median_ms().items() if name not in ("PostgreSQL", "Redis"))


def measure(*, short: bool) -> Section:
    count, rounds, seconds = (24, 1, 0.5) if short else (300, 3, 3.0)
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="sms-bench-", dir="/tmp")))
        folder.chmod(0o755)
        products = [_product(ending, mode) for mode in (MODES[:1] if short else MODES)]
        peers, missing = ([], []) if short else _peers(ending, folder)
        contenders: list[Contender] = [*products, *peers]
        found = {contender.name: Rounds() for contender in contenders}
        for number in range(rounds + 1):
            for contender in contenders:
                if number == 0:
                    contender.work(max(PORTALS, count // 10))  # warms up; is not counted
                else:
                    found[contender.name].one(contender, count)
        alone = _alone(ending, folder, products, seconds, rounds)
    return _section(found, alone, count, rounds, missing)


def _product(ending: ExitStack, mode: str) -> Product:
    return Product(mode, ending.enter_context(world_on(mode, env={"TIMING": TIMING})))


def _peers(ending: ExitStack, folder: Path) -> tuple[list[Contender], list[str]]:
    found: list[Contender] = []
    missing: list[str] = []
    for name, start in (("Flask, Celery, Redis, ORM", _pipeline), ("Kannel", _kannel)):
        try:
            found.append(ending.enter_context(start(folder / name.partition(",")[0].lower())))
        except UNAVAILABLE as error:
            print(f"bench: {name} is left out: {error}", file=sys.stderr)
            missing.append(name)
    return found, missing


@contextmanager
def _pipeline(folder: Path) -> Iterator[Contender]:
    folder.mkdir()
    with Postgres(durable=True) as cluster, Redis() as broker, doubles(folder) as beside:
        beside.gateway.behave("sandbox-key", latency_s=GATEWAY_S)
        with pipeline(folder, beside, cluster, broker) as made:
            yield made


@contextmanager
def _kannel(folder: Path) -> Iterator[Contender]:
    if not is_installed():
        raise RuntimeError("it is not installed; scripts/prerequisites does it")
    folder.mkdir()
    with doubles(folder) as beside:
        beside.gateway.behave("sandbox-key", latency_s=GATEWAY_S)
        with kannel(folder / "its", beside) as made:
            yield made


@dataclass
class Alone:
    """Web servers without anything behind: calls a second and milliseconds of processor time a call."""

    per_s: dict[str, list[float]] = field(default_factory=dict)
    ms: dict[str, list[float]] = field(default_factory=dict)

    def one(self, name: str, pid: int, order: Order) -> Heard:
        meter = Meter({"web": pid})
        heard = call(order).must_be(200)
        self.per_s.setdefault(name, []).append(heard.per_s)
        self.ms.setdefault(name, []).append(meter.used_s()["web"] / heard.calls * 1000)
        return heard

    def rate(self, name: str) -> float:
        return statistics.median(self.per_s[name])

    def cost(self, name: str) -> float:
        return statistics.median(self.ms[name])


def _alone(ending: ExitStack, folder: Path, products: list[Product], seconds: float, rounds: int) -> Alone:
    found = Alone()
    for product in products:
        product.world.stack.worker.terminate()
    forwards = _forwards(ending, folder, products[0])
    for _ in range(rounds):
        for product in products:
            web, name = product.world.stack.web.pid, product.name
            nothing = Order(product.world.stack.web_url + "/healthz", seconds)
            found.one(f"{name}: nothing", web, nothing)
            found.one(
                f"{name}: HANDLER", web, handler_order(handler_url(product.portals[0]), seconds=seconds)
            )
        for kind, (pid, url) in forwards.items():
            found.one(kind, pid, handler_order(f"{url}/sms", seconds=max(1.0, seconds), connections=32))
    return found


def _forwards(ending: ExitStack, folder: Path, product: Product) -> dict[str, tuple[int, str]]:
    env = {"GATEWAY_URL": product.world.stack.gateway_url}
    made = {}
    for kind, threads in (("forward inside the request, sync workers", 1), ("the same, threads", 8)):
        port = free_port()
        server = web_server("bench.peers.forward:app", folder, port, threads=threads, env=env)
        made[kind] = (ending.enter_context(server), f"http://127.0.0.1:{port}")
    return made


def _section(found: dict[str, Rounds], alone: Alone, count: int, rounds: int, missing: list[str]) -> Section:
    kannel_ms = next((each.own_ms() for name, each in found.items() if name.startswith("Kannel")), None)
    rows = [_row(name, each, alone, kannel_ms) for name, each in found.items()]
    head = ["", "processes, ms a message", "servers, ms", "× a request that does nothing", "× Kannel"]
    head += ["messages/s", "doubles, ms", "MB, first and last round"]
    lines = table(head, rows)
    lines += [
        "",
        *table(["alone, without workers", "calls/s", "ms a call", "HANDLER / this"], _alone_rows(alone)),
    ]
    figures = {
        name: {
            "ms": each.median_ms(),
            "own_ms": each.own_ms(),
            "per_s": statistics.median(each.per_s),
            "doubles_ms": statistics.median(each.doubles_ms),
            "memory_mb": [each.memory[0], each.memory[-1]],
        }
        for name, each in found.items()
    }
    return Section(
        title="What a message costs",
        text=f"{rounds} rounds of {count} messages each, the contenders in turn, as fast as the HANDLER takes"
        f" them; a gateway that takes {GATEWAY_S * 1000:.0f} ms, two reports, the end told to the portal. The"
        " product: web with two processes of eight threads, one worker,"
        f" {PORTALS} portals with an account each. Celery: a pool of 64 threads, one call to the portal for"
        " each end. Kannel: 64 calls open, HTTP in and out, its spool (which never syncs to the disk).",
        table=lines,
        figures={**figures, "alone": {name: alone.rate(name) for name in alone.per_s}},
        notes=[f"{name} could not be had on this machine." for name in missing],
    )


def _row(name: str, each: Rounds, alone: Alone, kannel_ms: float | None) -> list[object]:
    parts = each.median_ms()
    own = {part: ms for part, ms in parts.items() if part not in ("PostgreSQL", "Redis")}
    servers = {part: ms for part, ms in parts.items() if part not in own}
    nothing = alone.cost(f"{name}: nothing") if f"{name}: nothing" in alone.ms else None
    return [
        name,
        f"{figure(each.own_ms())} ({', '.join(f'{part} {figure(ms)}' for part, ms in own.items())})",
        ", ".join(f"{part} {figure(ms)}" for part, ms in servers.items()) or "–",
        each.own_ms() / nothing if nothing else "–",
        each.own_ms() / kannel_ms if kannel_ms else "–",
        statistics.median(each.per_s),
        statistics.median(each.doubles_ms),
        f"{each.memory[0]:.0f}, {each.memory[-1]:.0f}",
    ]


def _alone_rows(alone: Alone) -> list[list[object]]:
    handlers = [name for name in alone.per_s if name.endswith("HANDLER")]
    best = {mode: next((name for name in handlers if mode in name), handlers[0]) for mode in MODES}
    rows: list[list[object]] = []
    for name in alone.per_s:
        mode = next((mode for mode in MODES if f"{mode}:" in name), SQLITE)
        ratio = alone.rate(best[mode]) / alone.rate(name)
        rows.append([name, alone.rate(name), alone.cost(name), "" if name in handlers else ratio])
    return rows
