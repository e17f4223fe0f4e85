"""The demo: the whole product between a sandbox portal and a sandbox gateway, on this machine alone.

Installs the application in the portal the way a browser does, connects the gateway, sends three messages
and prints each one's walk as it happens. In a terminal it then stays until Ctrl-C; without one it ends
with 0, or with 1 and the reason.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from sandbox.client import PortalSandbox, SandboxError  # noqa: E402
from sandbox.gateway_client import GatewayClient, GatewayClientError  # noqa: E402
from sandbox.processes import ProcessFailed  # noqa: E402
from sandbox.stack import Stack  # noqa: E402

WALK_DEADLINE_S = 45.0


class DemoFailed(Exception):
    """The walk did not come to its end; the text says where it stopped."""


@dataclass
class Walk:
    """One message of the demo and the end that it must come to."""

    title: str
    to: str
    text: str
    expected: str
    message_id: str = ""
    sent_at: float = 0.0
    steps: list[str] = field(default_factory=list)
    is_told: bool = False


# Example numbers that no telephone has. The sandbox gateway is told what to do with each ending.
WALKS = (
    Walk("delivered", "+15550100100", "Your order 1042 is ready 🎉", "delivered"),
    Walk("cannot be delivered", "+15550100101", "Ваш заказ готов", "undelivered"),
    Walk("refused by the gateway", "+15550100109", "Dr. Smith expects you at 9:30", "failed"),
)
STEP_WORDS = {
    "received": "stored, and the portal's call answered 200",
    "submitting": "handed to the gateway under our reference",
    "accepted": "accepted by the gateway as",
    "refused": "refused by the gateway:",
    "report": "delivery report:",
    "told": "told to the portal:",
}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        print("Starting a sandbox portal, a sandbox gateway and the product ...", flush=True)
        with Stack(env={"APP_NAME": "Example SMS"}) as stack:
            play(stack)
            if sys.stdout.isatty() and sys.stdin.isatty():
                stay(stack)
    except KeyboardInterrupt:
        print("\nEnded.")
    except (DemoFailed, ProcessFailed, SandboxError, GatewayClientError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def play(stack: Stack) -> None:
    """From the installation to the last status in the portal."""
    portal, gateway = PortalSandbox(stack.portal_url), GatewayClient(stack.gateway_url)
    member_id = install(stack, portal)
    connect(stack, gateway, member_id)
    with following(stack, member_id) as steps:
        for walk in WALKS:
            send(portal, walk)
        watch(portal, steps)
    print("\nAll three ended in the portal as the gateway said. Look for yourself:")
    print(f"  the portal, with a CRM card and the app beside it   {stack.portal_url}/")
    print(f"  what the portal saw (JSON)                          {stack.portal_url}/sandbox/ledger")
    print(f"  what the gateway saw (JSON)                         {stack.gateway_url}/sandbox/ledger")
    print(f"  the product                                         {stack.web_url}/readyz", flush=True)


def install(stack: Stack, portal: PortalSandbox) -> str:
    """Install the application as an administrator's browser does; returns the portal's member id."""
    answer = portal.install(finish=True)
    if answer["status"] != 200:
        raise DemoFailed(f"the install page answered {answer['status']}; see {stack.dir / 'web.log'}")
    codes = [sender["code"] for sender in portal.senders()]
    if not codes:
        raise DemoFailed(f"the installation registered no sender; see {stack.dir / 'web.log'}")
    member_id = str(portal.info()["member_id"])
    print(f"Installed in the portal {member_id}; registered there as the SMS sender {', '.join(codes)!r}.")
    return member_id


def connect(stack: Stack, gateway: GatewayClient, member_id: str) -> None:
    gateway.behave(suffix="1", reports={"words": ["ENROUTE", "UNDELIV"]})
    gateway.behave(suffix="9", answer="reject")
    settings = [f"{name}={value}" for name, value in gateway.settings().items() if value]
    stack.flask("gateways", "set", member_id, "http", *settings)
    print("Connected to the sandbox gateway through the generic HTTP adapter.\n", flush=True)


def send(portal: PortalSandbox, walk: Walk) -> None:
    walk.sent_at = time.time()
    walk.message_id = str(portal.send_sms(to=walk.to, text=walk.text)["message_id"])


@contextmanager
def following(stack: Stack, member_id: str) -> Iterator[queue.Queue[str]]:
    """The lines of `messages follow`, as they come."""
    command = [sys.executable, "-m", "flask", "--app", "app"]
    command += ["messages", "follow", member_id, "--all", "--json"]
    lines: queue.Queue[str] = queue.Queue()
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=PROJECT, env=stack.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as follower:
        assert follower.stdout is not None
        source = follower.stdout

        def read() -> None:
            for line in source:
                lines.put(line)

        threading.Thread(target=read, daemon=True).start()
        try:
            yield lines
        finally:
            follower.kill()


def watch(portal: PortalSandbox, lines: queue.Queue[str]) -> None:
    """Print the steps until every message ended in the portal as it should."""
    by_id = {walk.message_id: walk for walk in WALKS}
    for walk in WALKS:
        print(f"{clock(walk.sent_at)}  {walk.title:<24} sent from the CRM card to {walk.to}", flush=True)
    deadline = time.monotonic() + WALK_DEADLINE_S
    while not all(walk.is_told for walk in WALKS):
        try:
            step = json.loads(lines.get(timeout=max(0.1, deadline - time.monotonic())))
        except queue.Empty:
            raise DemoFailed(unfinished()) from None
        if (walk := by_id.get(step["message_id"])) is None:
            continue
        at = datetime.fromisoformat(step["at"]).timestamp()
        words = f"{STEP_WORDS.get(step['event'], step['event'])} {step['detail']}"
        walk.steps.append(words)
        if step["event"] == "received":
            words = STEP_WORDS["received"]
        print(f"{clock(at)}  {walk.title:<24} {words}  (+{at - walk.sent_at:.2f} s)", flush=True)
        walk.is_told |= step["event"] == "told" and step["detail"] == walk.expected
    for walk in WALKS:
        row = portal.wait_status(walk.message_id, walk.expected, timeout_s=5)
        print(f"{clock(time.time())}  {walk.title:<24} the CRM card shows {row['status']!r}", flush=True)


def unfinished() -> str:
    stuck = next(walk for walk in WALKS if not walk.is_told)
    last = stuck.steps[-1] if stuck.steps else "nothing: the portal's call did not arrive"
    return f"after {WALK_DEADLINE_S:.0f} s the message {stuck.title!r} has not ended; its last step: {last}"


def clock(moment: float) -> str:
    return datetime.fromtimestamp(moment).strftime("%H:%M:%S.%f")[:-3]


def stay(stack: Stack) -> None:
    print("\nCtrl-C ends everything.", flush=True)
    stack.watch()


if __name__ == "__main__":
    sys.exit(main())
