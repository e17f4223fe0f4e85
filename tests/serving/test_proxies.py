"""The proxies of `deploy/` before two web processes: restarts lose no call, and a crowd stays outside."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sandbox.crowd import Crowd
from sandbox.databases import ServiceMissing
from sandbox.processes import Process, free_port
from sandbox.proxies import caddy, nginx
from tests.serving.conftest import Serve
from tests.worlds.certificates import self_signed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

# Stores before it answers, as the product does.
_APPLICATION = """
import os, time

def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    time.sleep(0.02)
    with open(os.environ["STORED"], "ab") as file:
        file.write(body + b"\\n")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def _reloaded(process: Process) -> None:
    """By a signal: the new processes take over the old ones' door."""
    booted = process.output().count("Booting worker")
    os.kill(process.pid, signal.SIGHUP)
    while process.output().count("Booting worker") == booted:
        time.sleep(0.05)


@contextmanager
def _proxied(kind: str, folder: Path, webs: list[int]) -> Iterator[tuple[str, Path]]:
    certificate = self_signed(folder, "localhost")
    port = free_port()
    make = {"nginx": nginx, "caddy": caddy}[kind]
    try:
        process = make(folder, certificate, webs, port)
    except ServiceMissing as missing:
        pytest.skip(str(missing))
    process.start()
    try:
        process.wait_ready()
        yield f"https://localhost:{port}", certificate
    finally:
        process.kill()


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize(
    ("kind", "renew"),
    [("nginx", Process.restart), ("nginx", _reloaded), ("caddy", _reloaded)],  # Caddy 2.6 empties a body
    ids=["nginx, restarted", "nginx, reloaded", "caddy, reloaded"],  # that it could not deliver at once
)
def test_one_web_process_after_the_other_is_renewed_under_load_and_no_call_is_lost(
    kind: str, renew: Callable[[Process], None], serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "stored"
    webs = [serve(application=_APPLICATION, env={"STORED": str(stored)}) for _ in range(2)]
    answers: Counter[str] = Counter()
    sent: list[str] = []
    stopping = threading.Event()

    with _proxied(kind, tmp_path, [port for _, port in webs]) as (url, certificate):

        def call(caller: int) -> None:
            session = requests.Session()
            session.trust_env = False
            session.verify = str(certificate)
            number = 0
            while not stopping.is_set():
                number += 1
                name = f"{caller}-{number}"
                sent.append(name)
                try:
                    said = str(session.post(f"{url}/sms/secret", data=name, timeout=30).status_code)
                except requests.RequestException as error:
                    said = type(error).__name__
                answers[said] += 1

        callers = [threading.Thread(target=call, args=(caller,)) for caller in range(8)]
        for caller in callers:
            caller.start()
        for _ in range(2):
            for process, _port in webs:
                time.sleep(0.5)
                renew(process)
        time.sleep(0.5)
        stopping.set()
        for caller in callers:
            caller.join()

    assert set(answers) == {"200"}, answers
    assert set(sent) == set(stored.read_text().split())
    assert len(sent) > 50


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_two_thousand_unfinished_bodies_stay_outside(serve: Serve, tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    webs = [serve(application=_APPLICATION, env={"STORED": str(stored)}) for _ in range(2)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with (
            _proxied("nginx", tmp_path, [port for _, port in webs]) as (url, certificate),
            Crowd(url, ca_file=str(certificate)) as crowd,
        ):
            crowd.leave_unfinished(2_000, "/sms/unfinished")
            crowd.wait_unfinished(2_000)
            said = [
                requests.post(f"{url}/sms/s", data=f"m{n}", verify=str(certificate), timeout=30).text
                for n in range(20)
            ]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert said == ["ok"] * 20
    assert stored.read_text().split() == [f"m{n}" for n in range(20)]
