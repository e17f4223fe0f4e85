"""Upgrades a running installation of an older commit under load, then compares what everybody knows.

    .venv/bin/python scripts/takeover.py 4a9c77a               PostgreSQL and Redis
    .venv/bin/python scripts/takeover.py 4a9c77a --embedded    SQLite and the embedded engine

The old release's web and worker take messages and hand them over to a gateway that is slow, breaks off and
refuses. Meanwhile the database is upgraded, a worker of this release starts beside the old one, the old one
ends, and at last the web processes change. Ends with 0 when every message was taken once and told once. It
needs the history of the repository, and an old release that runs with today's packages.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from sandbox.client import PortalSandbox  # noqa: E402
from sandbox.databases import Postgres, Redis  # noqa: E402
from sandbox.gateway_client import GatewayClient  # noqa: E402
from sandbox.stack import Stack  # noqa: E402

TIMING = (
    "gateway_deadline_s=2,lease_s=4,sweep_s=1,rehint_s=3,first_push_s=1,push_fill_s=0.3,push_repeat_s=0,"
    "retry_base_s=0.5,look_up_s=1,breaker_s=1"
)
KEY = "takeover"
ENDS_S = 180.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="the release before")
    parser.add_argument("--embedded", action="store_true", help="SQLite and the embedded engine")
    parser.add_argument("--messages", type=int, default=600)
    parser.add_argument("--rate", type=float, default=25.0, help="messages a second")
    options = parser.parse_args()
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="sms-takeover-")))
        urls = {} if options.embedded else _servers(ending)
        old = _old_release(folder, options.commit)
        stack = ending.enter_context(Stack(project=old, env={"TIMING": TIMING, "LOG_LEVEL": "ERROR"}, **urls))
        problems = _run(stack, options.messages, options.rate)
    print("\n".join(problems) or "every message was taken once and told once")
    return 1 if problems else 0


def _servers(ending: ExitStack) -> dict[str, str]:
    cluster, broker = ending.enter_context(Postgres()), ending.enter_context(Redis())
    return {"database_url": cluster.create_database(), "redis_url": broker.url()}


def _old_release(folder: Path, commit: str) -> Path:
    # The words of whoever runs this, on their own machine.
    command = ["git", "-C", str(PROJECT), "archive", commit]
    archive = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if archive.returncode:
        sys.exit(f"takeover: {archive.stderr.decode().strip()}; a clone without its history has no releases")
    target = folder / "before"
    target.mkdir()
    unpack = ["tar", "-x", "-C", str(target)]
    subprocess.run(unpack, input=archive.stdout, check=True)  # noqa: S603
    return target


def _run(stack: Stack, count: int, rate: float) -> list[str]:
    portal, gateway = PortalSandbox(stack.portal_url), GatewayClient(stack.gateway_url)
    portal.install(finish=True)
    gateway.make_account(KEY)
    settings = gateway.settings(KEY, idempotent=True)
    pairs = (f"{name}={value}" for name, value in settings.items() if value)
    stack.flask("gateways", "set", portal.info()["member_id"], "http", *pairs)
    reports = {"delay_s": 1.0, "jitter_s": 2.0, "retries": 40}
    gateway.behave(KEY, latency_s=0.3, deduplicate=True, reports=reports)
    campaign = portal.campaign(count, rate, to="+491510000000", text="takeover {n}", auth="none")
    for answer in ("reset", "unavailable", "close", "rate_limit"):  # each leaves a state of its own
        time.sleep(count / rate / 12)
        gateway.behave(KEY, next=2, answer=answer)
    _say("the database is upgraded")
    stack.project = PROJECT
    stack.run_flask("db", "upgrade")
    _say("a worker of this release beside the old one")
    stack.start_worker().wait_ready()
    time.sleep(2)
    gateway.behave(KEY, next=2, answer="hang", hang_s=3)
    _say("the old worker ends")
    stack.workers[0].terminate()
    portal.wait_campaign(campaign, timeout_s=ENDS_S)
    _say("the web changes")
    port = int(stack.web_url.rpartition(":")[2])
    stack.web.terminate()
    stack._start_on_port(port)
    _wait_for_ends(portal, count)
    return _problems(portal, gateway, count)


def _say(what: str) -> None:
    print(f"takeover: {what}", flush=True)


def _wait_for_ends(portal: PortalSandbox, count: int) -> None:
    deadline = time.monotonic() + ENDS_S
    while time.monotonic() < deadline:
        if portal.count_messages()["statuses"].get("delivered", 0) >= count:
            return
        time.sleep(0.5)


def _problems(portal: PortalSandbox, gateway: GatewayClient, count: int) -> list[str]:
    rows = portal.messages(limit=100_000)
    taken = Counter(message["text"] for message in gateway.messages())
    problems = [f"the portal has {len(rows)} messages of {count}"] if len(rows) != count else []
    for row in rows:
        text = row["text"]
        told = [entry["status"] for entry in row["history"] if entry["by"] == "app"]
        if [post["status"] for post in row["posts"]] != [200]:
            problems.append(f"{text}: the HANDLER answered {row['posts']}")
        if taken[text] != 1:
            problems.append(f"{text}: the gateway has it {taken[text]} times")
        if told != ["delivered"]:
            problems.append(f"{text}: the portal heard {told or 'nothing'}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
