"""Faults that need real processes: killed and sleeping workers, and restarts under load."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.processes import process_tree
from sandbox.stack import Stack

pytestmark = pytest.mark.timeout(240)

TIMING = (
    "gateway_deadline_s=3,lease_s=4,sweep_s=0.5,rehint_s=2,first_push_s=0.5,push_fill_s=0.1,"
    "push_repeat_s=2,retry_base_s=0.3,look_up_s=0.5,unknown_s=60,breaker_s=1"
)
KINDS = ("idempotent", "lookup", "blind")  # drops repeats, can be asked, neither


class Installed:
    """A portal for each kind of gateway account."""

    def __init__(self, stack: Stack, kinds: Sequence[str] = KINDS) -> None:
        self.stack = stack
        self.gateway = GatewayClient(stack.gateway_url)
        first = PortalSandbox(stack.portal_url)
        others = [first.on(first.create_portals()[0]["portal"]) for _ in kinds[1:]]
        self.portals = dict(zip(kinds, (first, *others), strict=True))
        self.members = {}
        for kind, portal in self.portals.items():
            assert portal.install(finish=True)["status"] == 200
            self.members[kind] = portal.info()["member_id"]
            self.gateway.make_account(kind)
            self.gateway.behave(kind, deduplicate=kind == "idempotent")
            settings = self.gateway.settings(kind, idempotent=kind == "idempotent")
            if kind == "lookup":
                settings = self.gateway.lookup_settings(kind)
            pairs = (f"{name}={value}" for name, value in settings.items() if value)
            stack.flask("gateways", "set", self.members[kind], "http", *pairs)

    def row(self, kind: str, message_id: str) -> Any:
        return self.stack.flask("messages", "show", self.members[kind], message_id)

    def state(self, message_id: str) -> tuple[str, str]:
        """Status and work, from the database's file: a command each time takes a second."""
        with closing(sqlite3.connect(self.stack.dir / "product.db", timeout=10)) as database:
            query = "SELECT status, work FROM messages WHERE message_id = ?"
            return database.execute(query, (message_id,)).fetchone() or ("", "")

    def worker_pid(self) -> int:
        return self.stack.worker.pid


def _until(holds: Callable[[], bool], timeout_s: float = 45.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_fault_22_23_24_33_workers_that_die_or_sleep_in_the_middle_of_a_call(
    stack: Callable[..., Stack],
) -> None:
    """One installation for all of it: a stack takes seconds to start."""
    installed = Installed(stack(env={"TIMING": TIMING}, worker_processes=1))
    gateway, portals = installed.gateway, installed.portals

    # Killed by the gateway itself after it took the message and before it answers.
    killed = {}
    for kind in KINDS:
        gateway.behave(kind, next=1, kill_pid=installed.worker_pid(), reports={"words": []})
        killed[kind] = portals[kind].send_sms(text=f"killed at {kind}")["message_id"]
        _until(lambda: not installed.stack.worker.is_running)
        installed.stack.worker.start()
        installed.stack.worker.wait_ready()
    _until(lambda: installed.state(killed["idempotent"])[0] == "sent")
    _until(lambda: installed.state(killed["lookup"])[0] == "sent")
    assert installed.row("blind", killed["blind"])["status"] == "unknown"
    texts = [message["text"] for message in gateway.messages()]
    assert sorted(texts) == sorted(f"killed at {kind}" for kind in KINDS)

    # A report settles what nobody else can.
    (blind,) = [message for message in gateway.messages() if message["account"] == "blind"]
    assert gateway.report(blind["id"], "DELIVRD") == 200
    portals["blind"].wait_status(killed["blind"], "delivered")

    # Killed before the gateway took it: the one that can be asked sends it, the others do what they can.
    gateway.behave("lookup", next=1, answer="hang_before", hang_s=20)
    lost = portals["lookup"].send_sms(text="never taken")["message_id"]
    _until(lambda: installed.state(lost)[1] == "submitting")
    installed.stack.worker.kill()
    installed.stack.worker.start()
    portals["lookup"].wait_status(lost, "delivered", timeout_s=60)

    # Asleep in the call, past the lease; a second worker judges, and the sleeper wakes up.
    second = installed.stack.start_worker()
    second.wait_ready()
    gateway.behave("blind", next=1, latency_s=0.1, answer="slow", slow_s=2, reports={"words": []})
    slept = portals["blind"].send_sms(text="slept")["message_id"]
    gateway.wait_for(accepted=5)
    for worker in installed.stack.workers:
        worker.pause()
    second_is_free = installed.stack.start_worker()
    second_is_free.wait_ready()
    _until(lambda: installed.state(slept)[0] == "unknown")
    for worker in installed.stack.workers[:2]:
        worker.resume()
    time.sleep(2)
    assert [message["text"] for message in gateway.messages()].count("slept") == 1
    assert installed.row("blind", slept)["status"] in ("unknown", "sent")


@pytest.mark.alone  # an answer may take two seconds, and new processes take the whole machine for one
@pytest.mark.parametrize("mode", ["embedded", "scaled"])
def test_fault_58_restarts_of_web_and_workers_under_load_answer_nothing_but_200(
    stack: Callable[..., Stack], mode: str, request: pytest.FixtureRequest
) -> None:
    urls: dict[str, str] = {}
    if mode == "scaled":
        urls["database_url"] = request.getfixturevalue("postgres_url")
        urls["redis_url"] = request.getfixturevalue("redis_url")
    installed = Installed(
        stack(env={"TIMING": TIMING}, web_workers=2, worker_processes=2, **urls), ["idempotent"]
    )
    portal = installed.portals["idempotent"]

    campaign = portal.campaign(120, 30.0, to="+491510000000", text="deploy {n}")
    time.sleep(1.0)
    os.kill(installed.stack.web.pid, signal.SIGHUP)
    installed.stack.workers[0].restart()
    installed.stack.workers[1].restart()
    progress = portal.wait_campaign(campaign, timeout_s=90)
    assert progress["answers"] == {"200": 120}
    _until(lambda: portal.count_messages()["statuses"].get("delivered") == 120, 60)

    assert installed.gateway.ledger()["distinct"] == 120
    assert installed.gateway.ledger()["doubles"] == 0
    assert process_tree(installed.stack.web.pid)


def test_fault_58_a_worker_that_is_told_to_stop_finishes_its_call(stack: Callable[..., Stack]) -> None:
    installed = Installed(stack(env={"TIMING": TIMING}), ["blind"])
    installed.gateway.behave("blind", next=1, latency_s=1.5)

    sent = installed.portals["blind"].send_sms(text="last call")["message_id"]
    _until(lambda: installed.state(sent)[1] == "submitting")
    installed.stack.worker.terminate(timeout_s=20)

    row = installed.row("blind", sent)
    assert row["attempts"][-1]["outcome"] == "accepted"
    assert "unknown" not in [entry["event"] for entry in row["events"]]
