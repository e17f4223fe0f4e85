"""The HANDLER and the reports beside three crowds: is a message lost, and how long does an answer take?

At the same time 48 callers forge installations against an authorization server that hangs, 40 browsers of one
customer press "Save and check" against a gateway that hangs, and unfinished bodies are left open.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import requests

from bench.caller import Order, call
from bench.sections import Section, table
from bench.worlds import MODES, World, world_on
from sandbox.client import PortalSandbox
from sandbox.crowd import Crowd

FORGERS, CHECKERS, UNFINISHED = 48, 40, 60
FORGERS_PAUSE_S, CHECKERS_PAUSE_S = 0.25, 1.0  # after an answer: a script is quicker than a person
HANDLER_PER_S, REPORTS_PER_S = 10.0, 10.0
WITHIN_MS = 1_000.0
_HIDDEN = re.compile(r'<input type="hidden" name="(account|version)" value="(\d+)">')
_TOKEN = re.compile(r'<meta name="s" content="([^"]+)">')


def measure(*, short: bool) -> Section:
    modes, seconds = (MODES[:1], 8.0) if short else (MODES, 60.0)
    figures = {}
    for mode in modes:
        with world_on(mode, web_workers=2) as world:
            figures[mode] = _measure(world, seconds)
    rows = [
        [
            f"{mode}: {what}",
            *(found[load][what][figure] for load in ("calm", "crowded") for figure in _FIGURES),
        ]
        for mode, found in figures.items()
        for what in ("HANDLER", "reports")
    ]
    promised = all(found["lost"] == 0 and found["worst_ms"] < WITHIN_MS for found in figures.values())
    return Section(
        title="Beside a crowd",
        text=f"{HANDLER_PER_S:g} HANDLER calls and {REPORTS_PER_S:g} reports a second for {seconds:g} s,"
        f" alone and beside {FORGERS} forgers of installations (events and openings) whose authorization"
        f" server hangs, {CHECKERS} browsers of one customer at “Save and check” whose gateway hangs, and"
        f" {UNFINISHED} bodies that are never finished. Milliseconds, from the moment a call was meant for."
        " The `web` of the Procfile with two processes, and nothing in front.",
        table=table(
            ["", *(f"{load} {name[:-3]}" for load in ("calm", "crowded") for name in _FIGURES)], rows
        ),
        figures=figures,
        notes=[
            f"{mode}: lost {found['lost']}; the crowd heard {found['heard']}"
            for mode, found in figures.items()
        ],
        is_as_promised=promised,
    )


_FIGURES = ("p50_ms", "p99_ms", "worst_ms")


def _measure(world: World, seconds: float) -> dict[str, Any]:
    ours, customer = world.several(2)
    handler = ours.info()["senders"][0]["handler"]
    pairs = (f"{name}={value}" for name, value in world.gateway.settings("0-own").items() if value)
    report_url = world.stack.flask("gateways", "set", ours.info()["member_id"], "http", *pairs)["report_url"]
    found: dict[str, Any] = {"calm": _load(handler, report_url, "calm", seconds)}
    with _crowd(world, customer) as crowd:
        found["crowded"] = _load(handler, report_url, "crowded", seconds)
        found["heard"] = {name: dict(answers) for name, answers in crowd.answers.items()}
        found["unfinished"] = crowd.unfinished
    answered = sum(found[load]["HANDLER"]["answers"].get("200", 0) for load in ("calm", "crowded"))
    called = sum(found[load]["HANDLER"]["calls"] for load in ("calm", "crowded"))
    found["lost"] = called - answered + max(0, answered - _rows(world, answered))
    found["worst_ms"] = max(found["crowded"][what]["worst_ms"] for what in ("HANDLER", "reports"))
    return found


def _load(handler: str, report_url: str, name: str, seconds: float) -> dict[str, dict[str, Any]]:
    """HANDLER calls and reports side by side, at their rates."""
    message = {
        "message_id": f"{name}-{{n}}",
        "message_to": "12",  # an impossible number: it ends without a gateway
        "message_body": "beside a crowd",
        "code": "sms",
    }
    report = {"reference": f"{name}-{{n}}", "status": "DELIVRD"}
    orders = {
        "HANDLER": Order(handler, seconds, connections=8, rate_per_s=HANDLER_PER_S, form=message),
        "reports": Order(report_url, seconds, connections=8, rate_per_s=REPORTS_PER_S, form=report),
    }
    with ThreadPoolExecutor(len(orders)) as side_by_side:
        heard = dict(zip(orders, side_by_side.map(call, orders.values()), strict=True))
    return {what: asdict(each) for what, each in heard.items()}


@contextmanager
def _crowd(world: World, customer: PortalSandbox) -> Iterator[Crowd]:
    token = _token(customer)
    opening = customer.open()
    customer.add_fault(everywhere=True, side="auth", method="app.info", kind="hang", count=0, seconds=60)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent, Crowd(world.stack.web_url) as crowd:
        save = {
            "gateway": "http",
            "set-auth": "none",
            "set-report_check": "none",
            **{f"set-{name}": value for name, value in world.gateway.settings("silent").items()},
            "set-check_url": f"http://127.0.0.1:{silent.getsockname()[1]}/balance",
        }
        crowd.keep_posting("forged events", FORGERS // 2, "/events", _forged_event, pause_s=FORGERS_PAUSE_S)
        query = urlsplit(opening["url"]).query
        crowd.keep_posting(
            "forged openings",
            FORGERS // 2,
            f"/install?{query}",
            lambda n: _forged_opening(opening["fields"], n),
            pause_s=FORGERS_PAUSE_S,
        )
        crowd.keep_posting(
            "checks",
            CHECKERS,
            "/ui/gateway",
            lambda _: save | _present(world.stack.web_url, token),
            pause_s=CHECKERS_PAUSE_S,
            headers={"Authorization": f"Bearer {token}"},
        )
        crowd.leave_unfinished(UNFINISHED, urlsplit(customer.info()["senders"][0]["handler"]).path)
        crowd.wait_unfinished(UNFINISHED)
        yield crowd
        customer.clear_faults()


def _token(portal: PortalSandbox) -> str:
    """The session of an administrator who has the app open."""
    opened = portal.open()
    page = requests.post(opened["url"], data=opened["fields"], timeout=30)
    return _TOKEN.search(page.text)[1]  # type: ignore[index]


def _present(web_url: str, token: str) -> dict[str, str]:
    """What the form carries of the account that it shows: each save makes another version of it."""
    headers = {"Authorization": f"Bearer {token}"}
    page = requests.get(f"{web_url}/ui/gateway?gateway=http", headers=headers, timeout=60).text
    return dict(_HIDDEN.findall(page))


def _forged_event(number: int) -> dict[str, str]:
    return {
        "event": "ONAPPINSTALL",
        "ts": str(int(time.time())),
        "auth[member_id]": f"{number:032}",
        "auth[access_token]": f"forged-{number}",
        "auth[application_token]": f"forged-{number}",
    }


def _forged_opening(fields: dict[str, str], number: int) -> dict[str, str]:
    return {**fields, "member_id": f"{number:032}", "AUTH_ID": f"forged-{number}"}


def _rows(world: World, wanted: int) -> int:
    """How many of the messages are stored; what was spooled may take a moment."""
    found = 0
    for _ in range(60):
        found = int(world.query("SELECT COUNT(*) FROM messages WHERE message_id LIKE 'c%-%'")[0][0])
        if found >= wanted:
            break
        time.sleep(0.5)
    return found
