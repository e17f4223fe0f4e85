"""Chaos: the whole product under fire, and four ledgers that have to agree afterwards.

A story is made from a seed: which messages are sent, how the gateway answers each of them, and which blows
fall in which order. The same seed tells the same story; only the clock of the machine differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from sandbox.client import PortalSandbox, SandboxError
from sandbox.crowd import Crowd
from sandbox.databases import Postgres, Redis
from sandbox.gateway_client import STATUS_MAP, GatewayClient
from sandbox.processes import ProcessFailed, process_tree
from sandbox.stack import Stack

# The product's delays, shrunk: a lease of 4 s stands for one of 30 s.
TIMING = {
    "gateway_deadline_s": 2,
    "lease_s": 4,
    "sweep_s": 1,
    "rehint_s": 3,
    "first_push_s": 1.5,
    "push_fill_s": 0.3,
    "push_repeat_s": 5,
    "retry_base_s": 0.5,
    "retry_limit": 8,
    "look_up_s": 1,
    "breaker_s": 1,
    "portal_call_s": 3,
    "unproved_look_s": 2,
    "account_probe_s": 2,
}
# What a gateway does instead of answering "accepted", in percent of all calls.
FAULTS = {
    "hang": 0.5,
    "reset": 1.0,
    "close": 1.0,
    "error_after": 1.0,
    "truncated": 0.5,
    "html": 0.5,
    "no_id": 0.5,
    "reset_before": 0.5,
    "error_before": 0.5,
    "hang_before": 0.2,
    "unavailable": 2.0,
    "rate_limit": 0.5,
    "reject": 1.0,
}
REPORTS = {
    "delay_s": 0.05,
    "jitter_s": 1.0,
    "duplicates": 0.1,
    "shuffle": 0.2,
    "final": {"DELIVRD": 90, "UNDELIV": 6, "REJECTD": 4},
    "retries": 40,
}
KINDS = ("drops repeats", "can be asked", "neither")
RANK = ("queued", "unknown", "sent", "undelivered", "failed", "delivered")
FINAL = {"delivered", "undelivered", "failed"}
WEB_STARTS_S = 20.0
OPENS_S = 60.0
ERASED_KEY = "key-erased"
_DATABASE_DOWN = (psycopg.Error, sqlite3.Error)


@dataclass(frozen=True)
class Plan:
    """What to do, and how much of it."""

    seed: int = 1
    messages: int = 3000
    kills: int = 24
    rate: float = 40.0  # messages a second
    scaled: bool = True  # PostgreSQL and Redis; else SQLite and the embedded engine
    web_workers: int = 2
    workers: int = 3
    duplicates: float = 0.03  # share of the queue's calls that come twice
    unknown_s: float = 90.0  # how long an unknown outcome may wait for its report
    forgers: int = 6  # who post forged installations all the time
    unfinished: int = 60  # requests that are left open all the time
    stuck_s: float = 240.0  # without any progress for so long, what is open is lost; deadlines are shorter


@dataclass(frozen=True)
class Blow:
    """One thing that goes wrong. `at` is a share of the load's time."""

    at: float
    what: str
    lasts_s: float
    pick: float  # which of several processes

    @property
    def is_kill(self) -> bool:
        return self.what.startswith("kill")


# What happens in portals: to those under load, and to one that is erased while the others are served.
_PORTALS = {"reinstall portal": 3, "forge events": 3, "erase portal": 2}
CONNECTED_AT = 0.3  # of the load's time, for the portal that begins without a gateway
ERASED_ROWS = 4000  # so many the portal that is erased has each time, so that it takes a while
_SCALED = {
    "kill worker": 8,
    "kill web worker": 5,
    "kill database": 3,
    "kill redis": 3,
    "kill web": 1,
    "pause worker": 4,
    "pause database": 2,
    "pause redis": 2,
    "wipe redis": 2,
    "restart worker": 1,
    "reload web": 1,
    **_PORTALS,
}
_EMBEDDED = {
    "kill worker": 8,
    "kill web worker": 5,
    "kill web": 1,
    "pause worker": 3,
    "lock database": 2,
    "delete engine file": 2,
    "restart worker": 1,
    "reload web": 1,
    **_PORTALS,
}


def story(plan: Plan) -> list[Blow]:
    """The blows in the order of their time: as many kills as asked for, and the rest in proportion."""
    chance = random.Random(f"chaos:{plan.seed}")
    weights = _SCALED if plan.scaled else _EMBEDDED
    blows: list[Blow] = []
    while sum(blow.is_kill for blow in blows) < plan.kills:
        what = chance.choices(list(weights), list(weights.values()))[0]
        lasts_s = chance.uniform(1.0, 7.0) if what == "pause worker" else chance.uniform(0.2, 2.0)
        blows.append(Blow(0.0, what, round(lasts_s, 2), round(chance.random(), 3)))
    times = sorted(chance.uniform(0.03, 0.97) for _ in blows)
    return [Blow(round(at, 4), b.what, b.lasts_s, b.pick) for at, b in zip(times, blows, strict=True)]


def fingerprint(plan: Plan) -> str:
    """The same for the same story."""
    text = json.dumps([asdict(plan), [asdict(blow) for blow in story(plan)], FAULTS, REPORTS])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _lane(blow: Blow) -> str:
    if blow.what in _PORTALS:
        return "portals"
    return "services" if blow.what.split()[-1] in ("database", "redis") else "processes"


@dataclass
class Verdict:
    """What the four ledgers say together. `problems` is empty when everything is explained."""

    sent: int = 0
    answered_200: int = 0
    rows: int = 0
    taken: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    unknown_outcomes: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    false_final: list[str] = field(default_factory=list)
    regressions: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    closed_unknown: list[str] = field(default_factory=list)  # no report came in the time for it
    broken: list[str] = field(default_factory=list)  # portals that do not work at the end
    portals: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    crowd: dict[str, dict[str, int]] = field(default_factory=dict)  # what it was answered
    slowest_503_s: float = 0.0
    slowest_recovery_s: float = 0.0  # a claim whose worker died, until the row moved again
    back_after_s: list[float] = field(default_factory=list)  # database back -> first 200
    load_s: float = 0.0
    settled_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        return [
            *(f"lost: {item}" for item in self.lost),
            *(f"doubled: {item}" for item in self.doubled),
            *(f"false final status: {item}" for item in self.false_final),
            *(f"regression: {item}" for item in self.regressions),
            *(f"unexplained: {item}" for item in self.unexplained),
            *(f"broken portal: {item}" for item in self.broken),
        ]

    def lines(self) -> Iterator[str]:
        yield f"sent by the queue            {self.sent}"
        yield f"answers to it                {dict(sorted(self.answers.items()))}"
        yield f"answered 200                 {self.answered_200}"
        yield f"rows                         {self.rows}"
        yield f"taken by the gateway         {self.taken}"
        yield f"final statuses               {dict(sorted(self.statuses.items()))}"
        yield f"unknown outcomes on the way  {self.unknown_outcomes}"
        yield f"portals that work            {self.portals - len(self.broken)} of {self.portals}"
        yield f"closed at their deadline     {len(self.closed_unknown)}"
        yield f"blows                        {dict(sorted(self.blows.items()))}, of these {self.kills} kills"
        yield f"answers to the crowd         {self.crowd}"
        yield f"slowest 503                  {self.slowest_503_s:.2f} s"
        yield f"killed claim moved again     after {self.slowest_recovery_s:.1f} s at most"
        back = f"{max(self.back_after_s):.1f} s at most" if self.back_after_s else "never down"
        yield f"first 200 after database     {back}"
        yield f"load, then until at rest     {self.load_s:.0f} s, {self.settled_s:.0f} s"
        yield (
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, false final {len(self.false_final)},"
            f" regressions {len(self.regressions)}, unexplained {len(self.unexplained)}"
        )


class Chaos:
    """One run: start everything, send the load while the blows fall, wait for rest, compare."""

    def __init__(self, plan: Plan, say: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self.say = say
        self._ending = ExitStack()
        self._back_at: list[float] = []  # when the database took connections again
        self._web_hits: list[float] = []
        self._verdict = Verdict()

    def __enter__(self) -> Chaos:
        try:
            self._start()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def run(self) -> Verdict:
        plan = self.plan
        began = time.monotonic()
        campaign = self.portals[0].campaign(
            plan.messages,
            plan.rate,
            portals=[portal.portal for portal in self.portals],
            to="+49150" + "0000000"[:7],
            text=f"chaos {plan.seed} no {{n}}",
        )
        with Crowd(self.stack.web_url) as crowd:
            self._gather(crowd)
            self._fall(began, plan.messages / plan.rate)
            self._all_up()
            self.portals[0].wait_campaign(campaign, timeout_s=plan.messages / plan.rate * 4 + 120)
        self._verdict.crowd = {name: dict(answers) for name, answers in crowd.answers.items()}
        self._verdict.load_s = time.monotonic() - began
        self.say("load done; waiting for rest")
        self._settle()
        verdict = self._judge()
        self._see_that_portals_work()
        return verdict

    # --- start

    def _start(self) -> None:
        plan = self.plan
        options: dict[str, Any] = {}
        if plan.scaled:
            self.postgres = self._ending.enter_context(Postgres())
            self.redis = self._ending.enter_context(Redis())
            self.database_url = self.postgres.create_database()
            options |= {"database_url": self.database_url, "redis_url": self.redis.url()}
        timing = ",".join(
            f"{name}={value}" for name, value in (TIMING | {"unknown_s": plan.unknown_s}).items()
        )
        self.stack = self._ending.enter_context(
            Stack(
                **options,
                web_workers=plan.web_workers,
                worker_processes=plan.workers,
                env={"TIMING": timing, "LOG_LEVEL": "WARNING"},
            )
        )
        portal = PortalSandbox(self.stack.portal_url)
        *others, self.erased = (portal.on(made["portal"]) for made in portal.create_portals(len(KINDS)))
        self.portals = [portal, *others]
        self.gateway = GatewayClient(self.stack.gateway_url)
        self.members = {}
        for number, (each, kind) in enumerate(zip(self.portals, KINDS, strict=True)):
            each.install(finish=True)
            self.members[each.info()["member_id"]] = each
            key = f"key-{number}"
            self.gateway.make_account(key)
            self.gateway.behave(
                key,
                seed=plan.seed,
                mixture=FAULTS,
                reports=REPORTS,
                hang_s=5,
                deduplicate=kind == "drops repeats",
            )
            settings = self.gateway.settings(key, idempotent=kind == "drops repeats")
            if kind == "can be asked":
                settings = self.gateway.lookup_settings(key)
            member_id = each.info()["member_id"]
            pairs = [f"{name}={value}" for name, value in settings.items() if value]
            if each is self.portals[-1]:
                self._late = (member_id, pairs)  # while its messages come in: see `_connect_late`
            else:
                self.stack.flask("gateways", "set", member_id, "http", *pairs)
        self.erased.configure(races={"enabled": False})
        _until_it_opens(self.erased, self.erased.install(finish=True))
        self.gateway.make_account(ERASED_KEY)
        self.gateway.behave(ERASED_KEY, latency_s=1.5, reports={**REPORTS, "retries": 0})
        self._connect(self.erased, ERASED_KEY)
        portal.set_queue(everywhere=True, duplicate=plan.duplicates)

    def _gather(self, crowd: Crowd) -> None:
        """The crowd is there from the beginning to the end of the load, whatever falls."""
        opened = self.portals[0].open()
        query = urlsplit(opened["url"]).query
        crowd.keep_posting("forged events", self.plan.forgers, "/events", _forged_event, pause_s=0.5)
        crowd.keep_posting(
            "forged openings",
            self.plan.forgers,
            f"/install?{query}",
            lambda number: {**opened["fields"], "member_id": f"{number:032}", "AUTH_ID": f"forged-{number}"},
            pause_s=0.5,
        )
        crowd.leave_unfinished(self.plan.unfinished, "/sms/nobody")

    def _connect(self, portal: PortalSandbox, key: str) -> None:
        pairs = (f"{name}={value}" for name, value in self.gateway.settings(key).items() if value)
        self.stack.flask("gateways", "set", portal.info()["member_id"], "http", *pairs)

    def _connect_late(self, at: float) -> None:
        """One portal's gateway is connected while its messages come in: none may go on sleeping."""
        time.sleep(max(0.0, at - time.monotonic()))
        member_id, pairs = self._late
        ends = time.monotonic() + OPENS_S
        while time.monotonic() < ends:
            with suppress(ProcessFailed):  # the database may be down: they press again
                self.stack.flask("gateways", "set", member_id, "http", *pairs)
                return
            time.sleep(1.0)
        self._verdict.unexplained.append("the gateway could not be connected")

    # --- blows

    def _fall(self, began: float, load_s: float) -> None:
        """Blows to the product and blows to its services fall side by side, each kind in its own order."""
        lanes: dict[str, list[Blow]] = defaultdict(list)
        for blow in story(self.plan):
            lanes[_lane(blow)].append(blow)

        def work_off(blows: list[Blow]) -> None:
            for blow in blows:
                time.sleep(max(0.0, began + blow.at * load_s - time.monotonic()))
                self._strike(blow)

        threads = [threading.Thread(target=work_off, args=(blows,)) for blows in lanes.values()]
        threads.append(threading.Thread(target=self._connect_late, args=(began + CONNECTED_AT * load_s,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _strike(self, blow: Blow) -> None:
        self.say(f"{blow.at:5.0%} {blow.what}, {blow.lasts_s} s")
        self._verdict.blows[blow.what] += 1
        self._verdict.kills += blow.is_kill
        if " web" in blow.what:
            self._web_hits.append(time.time())
        with suppress(ProcessFailed, ProcessLookupError):
            getattr(self, "_" + blow.what.replace(" ", "_"))(blow)

    def _worker(self, blow: Blow) -> Any:
        return self.stack.workers[int(blow.pick * len(self.stack.workers))]

    def _kill_worker(self, blow: Blow) -> None:
        worker = self._worker(blow)
        worker.kill()
        time.sleep(blow.lasts_s)
        worker.start()

    def _pause_worker(self, blow: Blow) -> None:
        worker = self._worker(blow)
        worker.pause()
        time.sleep(blow.lasts_s)
        worker.resume()

    def _restart_worker(self, blow: Blow) -> None:
        self._worker(blow).restart()

    def _kill_web_worker(self, blow: Blow) -> None:
        children = [pid for pid in process_tree(self.stack.web.pid) if pid != self.stack.web.pid]
        if children:
            os.kill(sorted(children)[int(blow.pick * len(children))], signal.SIGKILL)

    def _kill_web(self, blow: Blow) -> None:
        self.stack.web.kill()
        time.sleep(min(blow.lasts_s, 0.5))
        self.stack.web.start()
        self.stack.web.wait_ready()

    def _reload_web(self, blow: Blow) -> None:
        os.kill(self.stack.web.pid, signal.SIGHUP)

    def _kill_database(self, blow: Blow) -> None:
        self.postgres.kill()
        time.sleep(blow.lasts_s)
        self.postgres.start()
        self._back_at.append(time.time())

    def _pause_database(self, blow: Blow) -> None:
        self.postgres.pause()
        time.sleep(blow.lasts_s)
        self.postgres.resume()
        self._back_at.append(time.time())

    def _kill_redis(self, blow: Blow) -> None:
        self.redis.kill()
        time.sleep(blow.lasts_s)
        self.redis.start()

    def _pause_redis(self, blow: Blow) -> None:
        self.redis.pause()
        time.sleep(blow.lasts_s)
        self.redis.resume()

    def _wipe_redis(self, blow: Blow) -> None:
        self.redis.wipe()

    def _lock_database(self, blow: Blow) -> None:
        connection = sqlite3.connect(self._sqlite_file, timeout=5, isolation_level=None)
        with closing(connection), suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(blow.lasts_s)
            connection.execute("ROLLBACK")

    def _delete_engine_file(self, blow: Blow) -> None:
        self._sqlite_file.with_suffix(".engine").unlink(missing_ok=True)

    def _reinstall_portal(self, blow: Blow) -> None:
        """One under load: its messages go on coming, before, between and after."""
        portal = self.portals[int(blow.pick * len(self.portals))]
        _until_it_opens(portal, portal.reinstall(clean=False, finish=True))

    def _forge_events(self, blow: Blow) -> None:
        everybody = [*self.portals, self.erased]
        portal = everybody[int(blow.pick * len(everybody))]
        for event, clean in (("ONAPPUNINSTALL", "1"), ("ONAPPUNINSTALL", "0"), ("ONAPPUPDATE", "")):
            with suppress(SandboxError):  # no employee opens it while it is being installed
                portal.forge_event(event, {"CLEAN": clean}, times=3)

    def _erase_portal(self, blow: Blow) -> None:
        """Its rows are the newest ones while they are deleted, and its gateway still answers for some.
        Other portals' messages come in meanwhile, and so does the next installation."""
        portal = self.erased
        with suppress(*_DATABASE_DOWN):
            self._fill(portal)
        for _ in range(10):
            portal.send_sms(to="+4915099999999", text="in flight")
        time.sleep(0.3)
        portal.uninstall(clean=True)
        self._wait_uninstalled(portal, within_s=5.0)
        _until_it_opens(portal, portal.install(finish=True))
        with suppress(ProcessFailed):
            self._connect(portal, ERASED_KEY)

    def _fill(self, portal: PortalSandbox) -> None:
        """A long log, so that erasing it takes a while."""
        json_type = "::json" if self.plan.scaled else ""
        row = {
            "portal_id": "p.id",
            "message_id": f"'{time.time()}-' || n.i",
            **dict.fromkeys(("origin", "sender_code", "recipient", "text", "body_hash"), "'x'"),
            "bindings": f"'[]'{json_type}",
            "extra": f"'{{}}'{json_type}",
            **dict.fromkeys(("received_at", "expires_at"), "CURRENT_TIMESTAMP"),
            "status": "'failed'",
            "work": "'closed'",
        }
        numbers = f"SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ERASED_ROWS}"
        self._execute(
            f"WITH RECURSIVE n(i) AS ({numbers}) INSERT INTO messages ({', '.join(row)})"
            f" SELECT {', '.join(row.values())} FROM n, portals p"
            f" WHERE p.member_id = '{portal.info()['member_id']}'"
        )

    def _wait_uninstalled(self, portal: PortalSandbox, *, within_s: float) -> None:
        member_id, ends = portal.info()["member_id"], time.monotonic() + within_s
        while time.monotonic() < ends:
            with suppress(*_DATABASE_DOWN):
                if self.query(f"SELECT state FROM portals WHERE member_id = '{member_id}'") == [
                    ("uninstalled",)
                ]:
                    return
            time.sleep(0.05)

    def _all_up(self) -> None:
        for worker in self.stack.workers:
            worker.resume()
            if not worker.is_running:
                worker.start()
        if not self.stack.web.is_running:
            self.stack.web.start()
        self.stack.web.wait_ready()

    # --- rest

    @property
    def _sqlite_file(self) -> Path:
        return self.stack.dir / "product.db"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows' own view, read beside the product."""
        if self.plan.scaled:
            url = self.database_url.replace("+psycopg", "")
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                return list(connection.execute(sql))
        with closing(sqlite3.connect(self._sqlite_file, timeout=20)) as connection:
            return list(connection.execute(sql))

    def _execute(self, sql: str) -> None:
        if self.plan.scaled:
            url = self.database_url.replace("+psycopg", "")
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                connection.execute(sql)
            return
        with closing(sqlite3.connect(self._sqlite_file, timeout=20, isolation_level=None)) as connection:
            connection.execute(sql)

    def _settle(self) -> None:
        """Wait until nothing is left to do, or nothing moves any more. A slow machine may take its time."""
        began = moved = time.monotonic()
        seen: tuple[Any, ...] = ()
        members = ", ".join(f"'{member_id}'" for member_id in self.members)
        while time.monotonic() - moved < self.plan.stuck_s:
            ((busy, to_tell),) = self.query(
                "SELECT SUM(CASE WHEN work <> 'closed' THEN 1 ELSE 0 END),"
                " SUM(CASE WHEN push_due_at IS NOT NULL THEN 1 ELSE 0 END) FROM messages"
                f" WHERE portal_id IN (SELECT id FROM portals WHERE member_id IN ({members}))"
            )
            ((events,),) = self.query("SELECT COUNT(*) FROM portal_events WHERE due_at IS NOT NULL")
            waiting = self.gateway.ledger()["reports_waiting"]
            if not busy and not to_tell and not waiting and not events:
                break
            if (busy, to_tell, waiting, events) != seen:
                seen, moved = (busy, to_tell, waiting, events), time.monotonic()
            time.sleep(1.0)
        else:
            self._verdict.unexplained.append(f"still open: rows, words, reports, events: {seen}")
        self._verdict.settled_s = time.monotonic() - began

    # --- judgement

    def _judge(self) -> Verdict:
        verdict = self._verdict
        rows = self._rows()
        taken = self._taken()
        verdict.rows, verdict.taken = len(rows), sum(len(copies) for copies in taken.values())
        answered_at: list[float] = []
        for number, (member_id, portal) in enumerate(self.members.items()):
            for shown in _all_messages(portal):
                answered_at += [
                    post["at"] + post["seconds"] for post in shown["posts"] if post["status"] == 200
                ]
                key = (f"key-{number}", shown["to"], shown["text"])
                row = rows.pop((member_id, shown["message_id"]), None)
                self._judge_one(KINDS[number], shown, row, taken.pop(key, []))
        verdict.unexplained += [f"row without a message: {key}" for key in rows]
        verdict.unexplained += [f"submission without a message: {key}" for key in taken]
        answered_at.sort()
        for back in self._back_at:
            following = next((at for at in answered_at if at >= back), None)
            if following is not None and not self._web_was_hit(back, following - back):
                verdict.back_after_s.append(following - back)
        self._measure_recovery()
        return verdict

    def _judge_one(
        self, kind: str, shown: dict[str, Any], row: tuple[Any, ...] | None, copies: list[dict[str, Any]]
    ) -> None:
        verdict, name = self._verdict, f"{shown['message_id']} ({kind})"
        verdict.sent += 1
        answers = {post["status"] for post in shown["posts"]}
        for post in shown["posts"]:
            verdict.answers[str(post["status"])] += 1
            if post["status"] == 503 and not self._web_was_hit(post["at"], post["seconds"]):
                verdict.slowest_503_s = max(verdict.slowest_503_s, post["seconds"])
        verdict.answered_200 += 200 in answers
        if row is None:
            if 200 in answers:
                verdict.lost.append(f"{name}: answered 200, no row")
            if copies:
                verdict.unexplained.append(f"{name}: submitted without a row")
            return
        status, work, reason, told = row
        verdict.statuses[status] += 1
        truth = _truth(copies)
        if len(copies) > 1:
            verdict.doubled.append(f"{name}: {len(copies)} times")
        if work != "closed" or status not in FINAL:
            verdict.lost.append(f"{name}: stands at {status}, {work} ({reason}); the gateway says {truth}")
        elif reason == "unknown" and (status, truth) in (("failed", "undelivered"), ("failed", "sent")):
            told = f"{name}: closed at the deadline; the gateway says {truth}"
            verdict.closed_unknown.append(f"{told}; {self._story_of(shown['message_id'])}")
        elif truth is not None and status != truth:
            verdict.false_final.append(f"{name}: {status} ({reason}), the gateway said {truth}")
        elif truth is None and status != "failed":
            verdict.false_final.append(f"{name}: {status}, and the gateway never took it")
        if status in FINAL and shown["status"] != status:
            verdict.false_final.append(
                f"{name}: the portal shows {shown['status']}, we know {status} ({told})"
            )
        heard = [RANK.index(change["status"]) for change in shown["history"] if change["by"] == "app"]
        if heard != sorted(heard):
            verdict.regressions.append(f"{name}: {[RANK[rank] for rank in heard]}")

    def _story_of(self, message_id: str) -> str:
        """The row's events with their seconds since the first: for a person who wants to know why."""
        events = self.query(
            "SELECT e.at, e.event, e.detail FROM message_events e JOIN messages m ON m.id = e.message_row_id"
            f" WHERE m.message_id = '{message_id}' ORDER BY e.id"
        )
        began = _seconds(events[0][0])
        return ", ".join(f"{_seconds(at) - began:.0f} s {event} ({detail})" for at, event, detail in events)

    def _web_was_hit(self, at: float, seconds: float) -> bool:
        """Whether a call may have waited for a web process to start: that says nothing of the database."""
        return any(hit < at + seconds and at < hit + WEB_STARTS_S for hit in self._web_hits)

    def _rows(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        found = self.query(
            "SELECT p.member_id, m.message_id, m.status, m.work, m.reason, m.told FROM messages m"
            " JOIN portals p ON p.id = m.portal_id"
        )
        return {(row[0], row[1]): row[2:] for row in found if row[0] in self.members}

    def _taken(self) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        taken: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for message in self.gateway.messages():
            if message["account"] == ERASED_KEY:
                continue  # what was erased cannot be compared
            taken[message["account"], message["to"], message["text"]].append(message)
        return taken

    def _see_that_portals_work(self) -> None:
        """Each of them hands over a message, and is told what became of it; nobody opens the app before."""
        for portal in (*self.portals, self.erased):
            self._verdict.portals += 1
            sent = portal.send_sms(to="12", auth="none")
            try:
                portal.wait_status(sent["message_id"], "failed", timeout_s=60)
            except (TimeoutError, SandboxError, KeyError) as error:
                shown = self.stack.run_flask("portals", "show", portal.info()["member_id"])
                self._verdict.broken.append(f"{portal.portal}: {error}\n{shown}")

    def _measure_recovery(self) -> None:
        events = self.query(
            "SELECT message_row_id, at, event, detail FROM message_events"
            " WHERE event IN ('submitting', 'unknown') ORDER BY id"
        )
        claimed: dict[int, Any] = {}
        for row_id, at, event, detail in events:
            if event == "submitting":
                claimed[row_id] = at
                continue
            self._verdict.unknown_outcomes += 1
            if detail.startswith("the worker stopped") and row_id in claimed:
                seconds = _seconds(at) - _seconds(claimed[row_id])
                self._verdict.slowest_recovery_s = max(self._verdict.slowest_recovery_s, seconds)


def _forged_event(number: int) -> dict[str, str]:
    return {
        "event": "ONAPPINSTALL",
        "ts": str(int(time.time())),
        "auth[member_id]": f"{number:032}",
        "auth[access_token]": f"forged-{number}",
    }


def _until_it_opens(portal: PortalSandbox, opened: dict[str, Any]) -> None:
    """An administrator whose page does not come presses again, until the wizard is finished."""
    ends = time.monotonic() + OPENS_S
    while opened["status"] != 200 and time.monotonic() < ends:
        time.sleep(0.5)
        opened = portal.open(finish=True)


def _seconds(at: Any) -> float:
    if isinstance(at, str):  # SQLite
        return datetime.fromisoformat(at).timestamp()
    return float(at.timestamp())


def _truth(copies: list[dict[str, Any]]) -> str | None:
    """What the gateway said of it: the heaviest word that it reported; None when it never took it."""
    words = [
        STATUS_MAP[report["status"]]
        for copy in copies
        for report in copy["reports"]
        if 200 <= report["answer"] < 300
    ]
    if not copies:
        return None
    return max(words, key=RANK.index, default="sent")


def _all_messages(portal: PortalSandbox) -> Iterator[dict[str, Any]]:
    after = 0
    while page := portal.messages(after=after, limit=1000):
        yield from page
        after = page[-1]["id"]
