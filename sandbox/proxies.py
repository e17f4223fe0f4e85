"""The proxies of `deploy/`, with their own files, before web processes on this machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from sandbox.databases import ServiceMissing
from sandbox.processes import PROJECT, Process


def nginx(folder: Path, certificate: Path, webs: Sequence[int], port: int) -> Process:
    """Not started yet. `certificate` holds its key as well; `webs` are the ports of two web processes."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise ServiceMissing("nginx is not installed; scripts/prerequisites does it")
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


def caddy(folder: Path, certificate: Path, webs: Sequence[int], port: int) -> Process:
    """The same with Caddy."""
    program = shutil.which("caddy")
    if program is None:
        raise ServiceMissing("caddy is not installed; scripts/prerequisites does it")
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
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
