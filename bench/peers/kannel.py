"""Kannel, the open-source SMS gateway in C, with its spool: HTTP in, HTTP gateway, reports in, HTTP out."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from bench.caller import Order, call
from bench.peers.doubles import Doubles, own_process
from sandbox.processes import free_port

OPEN_CALLS = 64
_FINAL = 19  # of the sorts of reports: delivered, undelivered, refused

_CONFIG = """
group = core
admin-port = {admin}
admin-password = bench
smsbox-port = {box}
box-allow-ip = "127.0.0.1"
store-type = spool
store-location = {folder}/spool
dlr-storage = internal
log-level = 4
log-file = {folder}/bearerbox.kannel.log

group = smsc
smsc = http
system-type = generic
smsc-id = bench
port = {reports}
connect-allow-ip = "127.0.0.1"
max-pending-submits = {open_calls}
send-url = "{gateway}/v1/messages?key=sandbox-key&to=%p&from=%P&text=%a&callback={callback}"
status-success-regex = "ACCEPTED"
generic-foreign-id-regex = "\\"id\\": *\\"([^\\"]+)\\""
generic-param-dlr-mid = "id"
generic-param-dlr-mask = "status"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
global-sender = BENCH
log-level = 4
log-file = {folder}/smsbox.kannel.log

group = sendsms-user
username = bench
password = bench
max-messages = 1
concatenation = false
"""


class Kannel:
    """Both of its processes between a sandbox gateway and somebody who counts what is told."""

    name = "Kannel 1.4.5, spool"

    def __init__(self, doubles: Doubles, parts: dict[str, int], sendsms: str, sink: str) -> None:
        self.doubles = doubles.parts
        self.parts = parts
        self._sendsms = sendsms
        self._sink = sink

    def work(self, count: int) -> float:
        """Hand over so many messages as fast as they are taken; seconds until the last one's end is told."""
        wanted = self._told() + count
        began = time.monotonic()
        told = quote(f"{self._sink}/told?status=%d", safe="")
        url = (
            f"{self._sendsms}/cgi-bin/sendsms?username=bench&password=bench&to=%2B491510000000"
            f"&text={time.time_ns()}-{{n}}&dlr-mask={_FINAL}&dlr-url={told}"
        )
        call(Order(url, 600, connections=24, calls=count)).must_be(202)
        while self._told() < wanted:
            if time.monotonic() - began > 120:
                raise RuntimeError(f"Kannel told {self._told()} of {wanted}")
            time.sleep(0.02)
        return time.monotonic() - began

    def _told(self) -> int:
        with urllib.request.urlopen(f"{self._sink}/count") as answer:
            return int(json.load(answer)["count"])


def is_installed() -> bool:
    return all(shutil.which(name) or Path(f"/usr/sbin/{name}").exists() for name in ("bearerbox", "smsbox"))


@contextmanager
def kannel(folder: Path, doubles: Doubles) -> Iterator[Kannel]:
    ports = {name: free_port() for name in ("admin", "box", "reports", "sendsms", "sink")}
    (folder / "spool").mkdir(parents=True)
    config = folder / "kannel.conf"
    config.write_text(
        _CONFIG.format(
            **ports,
            folder=folder,
            gateway=doubles.gateway_url,
            open_calls=OPEN_CALLS,
            callback=quote(f"http://127.0.0.1:{ports['reports']}/dlr", safe=""),
        )
    )
    # Kannel's words for "buffered" and "delivered" are numbers; its reports come as GET.
    reports = {"words": ["4", "1"], "format": "query"}
    doubles.gateway.behave("sandbox-key", reports=reports)
    with ExitStack() as ending:

        def start(name: str, command: list[str], port: int) -> int:
            return ending.enter_context(own_process(name, command, folder=folder, port=port)).pid

        start("sink", ["{python}", "-m", "bench.peers.sink", str(ports["sink"])], ports["sink"])
        bearerbox = start("bearerbox", ["bearerbox", "-v", "4", str(config)], ports["box"])
        smsbox = start("smsbox", ["smsbox", "-v", "4", str(config)], ports["sendsms"])
        yield Kannel(
            doubles,
            {"bearerbox": bearerbox, "smsbox": smsbox},
            f"http://127.0.0.1:{ports['sendsms']}",
            f"http://127.0.0.1:{ports['sink']}",
        )
