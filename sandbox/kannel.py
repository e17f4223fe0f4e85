"""A real Kannel from Debian with its own fake SMSC, on loopback: bearerbox, smsbox and fakesmsc.

    with RealKannel(folder) as kannel:
        print(kannel.url, kannel.user, kannel.password)

`python -m sandbox kannel` starts one by hand. The fake SMSC delivers everything. Its port cannot be bound to
one address, so Kannel itself lets nobody but 127.0.0.1 connect to it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.parse import unquote_plus
from urllib.request import ProxyHandler, build_opener

from sandbox.processes import Process, ProcessFailed, free_port, guard

_CONFIG = """\
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = admin
status-password = status
smsbox-port = {box}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"
box-deny-ip = "*.*.*.*"
dlr-storage = internal
sms-resend-freq = 1

{smsc}

group = smsbox
smsbox-id = box1
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
global-sender = 13013
http-request-retry = 10
http-queue-delay = 1

group = sendsms-user
username = {user}
password = {password}
concatenation = true
max-messages = 10
user-allow-ip = "127.0.0.1"
user-deny-ip = "*.*.*.*"

group = sms-service
keyword = default
text = ""
omit-empty = true
max-messages = 0
"""
_FAKE_SMSC = """\
group = smsc
smsc = fake
smsc-id = fake1
port = {port}
connect-allow-ip = 127.0.0.1"""
# fakesmsc wants to send something to earn its living: one message to us, which the default service swallows.
_PING = "79001234567 13013 text ping"
_PATHS = ("/usr/lib/kannel/test", "/usr/sbin")


class KannelMissing(Exception):
    """Kannel is not installed; the text says how to get it."""


def program(name: str) -> str:
    """The path of one of Kannel's programs; raises KannelMissing."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_PATHS]))
    if found is None:
        raise KannelMissing(f"{name} is not installed; as root: scripts/prerequisites")
    return found


class RealKannel:
    """`smsc` is a group of Kannel's configuration that takes the place of the fake SMSC."""

    user = "tester"
    password = "foobar"

    def __init__(self, folder: Path | None = None, *, smsc: str = "") -> None:
        self._is_temporary = folder is None
        self._folder = folder
        self._smsc = smsc
        self._processes: list[Process] = []

    def __enter__(self) -> RealKannel:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        assert self._folder is not None, "not started"
        return self._folder

    @property
    def url(self) -> str:
        """Of sendsms."""
        return f"http://127.0.0.1:{self._sendsms}/cgi-bin/sendsms"

    def start(self) -> None:
        """Start all of it and wait until a message can go through."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kannel-"))
            guard().add("folder", self._folder)
        self._admin, box, self._sendsms, fake = (free_port() for _ in range(4))
        smsc = self._smsc or _FAKE_SMSC.format(port=fake)
        config = self.folder / "kannel.conf"
        config.write_text(
            _CONFIG.format(
                admin=self._admin,
                box=box,
                sendsms=self._sendsms,
                smsc=smsc,
                user=self.user,
                password=self.password,
            )
        )
        try:
            self.bearerbox = self._run("bearerbox", ["-v", "1", str(config)], lambda: _listens(box))
            self.smsbox = self._run("smsbox", ["-v", "1", str(config)], lambda: _listens(self._sendsms))
            if not self._smsc:
                options = ["-H", "127.0.0.1", "-r", str(fake), "-i", "3600", "-m", "1", _PING]
                self.fakesmsc = self._run("fakesmsc", options, lambda: "online" in self.status())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        self._processes.clear()
        if self._is_temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            guard().remove("folder", self._folder)
            self._folder = None

    def status(self) -> str:
        """The status page of bearerbox; empty while there is none."""
        try:
            opener = build_opener(ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{self._admin}/status.txt?password=status", timeout=5) as page:
                return str(page.read().decode(errors="replace"))
        except (URLError, OSError):
            return ""

    def received(self, number: str) -> str:
        """The texts that the fake SMSC has got for a number, one after the other, their parts joined."""
        found = re.findall(rf"<\S+ {re.escape(number)} (.*?)>\n", self.fakesmsc.output())
        return "".join(_text(line) for line in found)

    def wait_received(self, number: str, text: str, timeout_s: float = 30.0) -> str:
        """The same, once it is this text or the time is over: Kannel may report before its SMSC has read."""
        deadline = time.monotonic() + timeout_s
        while (found := self.received(number)) != text and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def count_received(self) -> int:
        """How many parts the fake SMSC has got so far, for whomever."""
        return len(re.findall(r"Got message [0-9]+:", self.fakesmsc.output()))

    def _run(self, name: str, options: list[str], is_ready: Callable[[], bool]) -> Process:
        process = Process(
            name,
            [program(name), *options],
            log=self.folder / f"{name}.log",
            env={"PATH": os.environ.get("PATH", "")},
            cwd=self.folder,
            is_ready=lambda _: is_ready(),
        )
        self._processes.append(process)
        process.start()
        process.wait_ready()
        return process


def _text(line: str) -> str:
    """One part as the fake SMSC writes it down: its kind and its text, a long one's after its header."""
    kind, _, text = line.partition(" ")
    if kind == "text":
        return text
    if kind == "udh":
        _, _, rest = text.partition(" ")
        _, _, text = rest.partition(" ")
    data = unquote_plus(text, "latin-1").encode("latin-1")
    is_ucs2 = kind == "ucs-2" or any(byte < 9 or byte > 127 for byte in data)
    return data.decode("utf-16-be" if is_ucs2 else "ascii")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(argv: list[str]) -> int:
    """Start a Kannel by hand, print its settings as one line of JSON, end it on Ctrl-C or SIGTERM."""
    argparse.ArgumentParser(prog="python -m sandbox kannel", description=main.__doc__).parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with RealKannel() as kannel:
            settings = {"url": kannel.url, "user": kannel.user, "password": kannel.password}
            print(json.dumps({**settings, "folder": str(kannel.folder)}), flush=True)
            while kannel.bearerbox.is_running:
                time.sleep(0.5)
            raise kannel.bearerbox.failure("ended")
    except KeyboardInterrupt:
        return 0
    except (ProcessFailed, KannelMissing) as error:
        print(error, file=sys.stderr)
        return 1
