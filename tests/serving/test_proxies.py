"""The proxies of `deploy/` before two web processes: restarts lose no call, and a crowd stays outside."""

from __future__ import annotations

import os
import re
import resource
import shutil
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
from sandbox.processes import PROJECT, Process, free_port
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


def _nginx(folder: Path, certificate: Path, webs: list[int], port: int) -> Process:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed; scripts/prerequisites does it")
    text = (PROJECT / "deploy" / "nginx" / "nginx.conf").read_text()
    for ours, theirs in (
        ("user www-data;", "user root;" if os.geteuid() == 0 else ""),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid; daemon off;"),
        ("/var/log/nginx/error.log", f"{folder}/error.log"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/sms.example.com.pem", str(certificate)),
        ("/etc/ssl/sms.example.com.key", str(certificate)),
        ("127.0.0.1:8001", f"127.0.0.1:{webs[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{webs[1]}"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(text.replace("http {", f"http {{ {paths}"))
    return Process(
        "nginx",
        [program, "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(config)],
        log=folder / "nginx.log",
        env={"PATH": os.environ["PATH"]},
        cwd=folder,
        is_ready=lambda _process: _listens(port),
    )


def _caddy(folder: Path, certificate: Path, webs: list[int], port: int) -> Process:
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed; scripts/prerequisites does it")
    text = (PROJECT / "deploy" / "caddy" / "Caddyfile").read_text()
    text = re.sub(r"^\{\n", "{\n\tadmin off\n\tauto_https disable_redirects\n", text, count=1, flags=re.M)
    # Debian's Caddy is 2.6, which has another word for it.
    text = re.sub(r"request_buffers (\w+)", r"buffer_requests\n\t\tmax_buffer_size \1", text)
    tls = f"{{$HOSTNAME_OF_THE_APP}} {{\n\ttls {certificate} {certificate}\n"
    config = folder / "Caddyfile"
    config.write_text(text.replace("{$HOSTNAME_OF_THE_APP} {\n", tls))
    return Process(
        "caddy",
        [program, "run", "--config", str(config), "--adapter", "caddyfile"],
        log=folder / "caddy.log",
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HOSTNAME_OF_THE_APP": f"https://localhost:{port}",
            "UPSTREAM": " ".join(f"127.0.0.1:{web}" for web in webs),
        },
        cwd=folder,
        is_ready=lambda _process: _listens(port),
    )


def _listens(port: int) -> bool:
    try:
        requests.get(f"https://localhost:{port}/", verify=False, timeout=1)
    except requests.ConnectionError:
        return False
    return True


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
    make = {"nginx": _nginx, "caddy": _caddy}[kind]
    process = make(folder, certificate, webs, port)
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
