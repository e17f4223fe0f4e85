"""The operator's drill: deploy, restart everything under load, back up, restore, and count what was lost.

    .venv/bin/python scripts/drill.py --seconds 60

On this machine, by the steps of docs/operations.md and docs/backup.md: PostgreSQL, Redis, two web
processes, two workers, nginx with TLS from `deploy/`, a portal that installs the app over TLS and sends all
the time. Ends with 0 when every message reached the gateway once and the portal knows its end, and when
after the restore of an old backup nothing went out again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from sandbox.client import PortalSandbox  # noqa: E402
from sandbox.databases import Postgres, Redis  # noqa: E402
from sandbox.gateway_client import GatewayClient  # noqa: E402
from sandbox.processes import Process, free_port  # noqa: E402
from sandbox.proxies import nginx  # noqa: E402
from sandbox.stack import Stack  # noqa: E402
from tests.worlds.certificates import self_signed  # noqa: E402

SENT_A_SECOND = 10.0
SETTLES_S = 180.0


@dataclass
class Verdict:
    """`sent` were handed over by the portal; `problems` says what should not have happened."""

    sent: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    steps: list[str] = field(default_factory=list)
    doubtful: int = 0
    problems: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"{self.sent} messages over TLS, answered {dict(self.answers)}"
        yield f"restarted meanwhile: {', '.join(self.steps)}"
        yield f"restored from a backup: {self.doubtful} messages of it are unknown and were not sent again"
        yield f"{len(self.problems)} problems"
        yield from (f"  {problem}" for problem in self.problems[:30])


class Drill:
    """Use as a context: everything it started ends with it."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._ending = ExitStack()
        self.verdict = Verdict()

    def __enter__(self) -> Drill:
        try:
            self._deploy()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def run(self, seconds: float) -> Verdict:
        """All of it; `seconds` of load are shared among the restarts."""
        self._restart_everything(seconds)
        self._judge()
        self._restore()
        return self.verdict

    # --- from clone to a scaled deployment

    def _deploy(self) -> None:
        self._say("PostgreSQL, Redis, two web processes, two workers, nginx with TLS")
        self.postgres = self._ending.enter_context(Postgres())
        self.redis = self._ending.enter_context(Redis())
        self.database_url = self.postgres.create_database()
        port = free_port()
        self.stack = Stack(
            database_url=self.database_url,
            redis_url=self.redis.url(),
            worker_processes=2,
            env={"PUBLIC_URL": f"https://127.0.0.1:{port}", "LOG_LEVEL": "WARNING"},
            doubles_env={name: str(self.postgres.dir / "both.pem") for name in _TRUSTED},
        )
        certificate = self_signed(self.postgres.dir, "127.0.0.1")
        self._ending.enter_context(self.stack)
        second, second_port = self.stack.start_web()
        self.webs = [self.stack.web, second]
        first_port = int(self.stack.web_url.rpartition(":")[2])
        self.proxy = nginx(self.stack.dir, certificate, [first_port, second_port], port)
        self._ending.callback(self.proxy.kill)
        self.proxy.start()
        self.proxy.wait_ready()

        self._say("the portal installs the app over TLS, its administrator connects the gateway")
        self.portal = PortalSandbox(self.stack.portal_url)
        self.gateway = GatewayClient(self.stack.gateway_url)
        if (answer := self.portal.install(finish=True))["status"] != 200:
            raise SystemExit(f"the installation was answered {answer}")
        self.member_id = self.portal.info()["member_id"]
        settings = self.gateway.settings()
        pairs = [f"{name}={value}" for name, value in settings.items() if value]
        self.stack.flask("gateways", "set", self.member_id, "http", *pairs)

    # --- a new release, without a lost call

    def _restart_everything(self, seconds: float) -> None:
        steps: list[tuple[str, Callable[[], None]]] = [
            ("first web process", lambda: self._renew(self.webs[0])),
            ("second web process", lambda: self._renew(self.webs[1])),
            ("first worker", lambda: self._renew(self.stack.workers[0])),
            ("second worker", lambda: self._renew(self.stack.workers[1])),
            ("nginx", lambda: os.kill(self.proxy.pid, signal.SIGHUP)),
            ("Redis", lambda: self.redis.process.restart()),
            ("PostgreSQL", lambda: self.postgres.restart()),
        ]
        stopping = threading.Event()
        load = threading.Thread(target=self._send, args=(stopping,))
        load.start()
        try:
            for number, (name, restart) in enumerate(steps):
                time.sleep(seconds / (len(steps) + 1))
                if number == len(steps) // 2:
                    self._say("a backup is made meanwhile")
                    self.backup = self.postgres.dump(self.database_url)
                self._say(f"restarted: {name}")
                restart()
                self.verdict.steps.append(name)
            time.sleep(seconds / (len(steps) + 1))
        finally:
            stopping.set()
            load.join()

    @staticmethod
    def _renew(process: Process) -> None:
        process.terminate(timeout_s=40)
        process.start()
        process.wait_ready()

    def _send(self, stopping: threading.Event) -> None:
        while not stopping.wait(1 / SENT_A_SECOND):
            self.verdict.sent += 1
            self.portal.send_sms(to=f"+1555{self.verdict.sent:07}", text=f"drill {self.verdict.sent}")

    # --- what came of it

    def _judge(self) -> None:
        self._say("at rest" if self._settled() else f"not at rest: {self.portal.count_messages()}")
        for shown in self._shown():
            self.verdict.answers.update(post["status"] for post in shown["posts"])
            if shown["status"] != "delivered":
                self.verdict.problems.append(f"{shown['message_id']}: the portal shows {shown['status']}")
        self._count_copies()

    def _settled(self) -> bool:
        ends = time.monotonic() + SETTLES_S
        while time.monotonic() < ends:
            if self.portal.count_messages()["statuses"].get("delivered", 0) >= self.verdict.sent:
                return True
            time.sleep(0.5)
        return False

    def _shown(self) -> list[dict[str, Any]]:
        rows = self.portal.messages(limit=100_000)
        if len(rows) != self.verdict.sent:
            self.verdict.problems.append(f"{self.verdict.sent} were sent, the portal has {len(rows)}")
        return rows

    def _count_copies(self) -> None:
        copies = Counter(message["to"] for message in self.gateway.messages())
        expected = [f"+1555{number + 1:07}" for number in range(self.verdict.sent)]
        wrong = {to: copies[to] for to in expected if copies[to] != 1}
        self.verdict.problems += [f"{to}: reached the gateway {count} times" for to, count in wrong.items()]

    # --- a backup, and what is doubtful after it

    def _restore(self) -> None:
        self._say("restored from the backup: workers and web stop, the old state comes back")
        for process in (*self.stack.workers, *self.webs):
            process.terminate(timeout_s=40)
        self.stack.env["DATABASE_URL"] = self.postgres.restore(self.backup)
        self.stack.run_flask("db", "upgrade")
        self.verdict.doubtful = self.stack.flask("messages", "restored")["unknown"]
        for process in (*self.webs, *self.stack.workers):
            process.env["DATABASE_URL"] = self.stack.env["DATABASE_URL"]
            process.start()
        for process in (*self.webs, *self.stack.workers):
            process.wait_ready()
        self.stack.flask("senders", "reconcile")
        self.verdict.sent += 1
        last = self.portal.send_sms(to=f"+1555{self.verdict.sent:07}", text="after the restore")
        self.portal.wait_status(last["message_id"], "delivered", timeout_s=60)
        self._count_copies()


# What Python's and requests' TLS trust, so that the portal believes the drill's own certificate.
_TRUSTED = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of load (default: 60)")
    options = parser.parse_args()
    began = time.monotonic()
    with Drill(lambda text: print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)) as drill:
        verdict = drill.run(options.seconds)
    print("\n".join(verdict.lines()))
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
