"""Starts the usual pipeline (pipeline.py) in its own environment, and whatever else runs under gunicorn."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.peers.doubles import Doubles, own_process
from bench.work import hand_over
from sandbox.databases import Postgres, Redis
from sandbox.processes import PROJECT, free_port

ENVIRONMENT = PROJECT / ".run" / "bench" / "venv"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
OPEN_CALLS = 64


class Pipeline:
    name = "Flask, Celery, Redis, ORM"

    def __init__(self, doubles: Doubles, parts: dict[str, int], url: str) -> None:
        self.doubles = doubles.parts
        self.parts = parts
        self.url = url
        self._portal = doubles.portal

    def work(self, count: int) -> float:
        return hand_over(self._portal, [1], count)


@contextmanager
def pipeline(folder: Path, doubles: Doubles, cluster: Postgres, broker: Redis) -> Iterator[Pipeline]:
    """Web with two processes of eight threads, as the product's; Celery with a thread for each open call."""
    python, port = _environment(), free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "PORTAL_URL": doubles.portal_url,
        "GATEWAY_URL": doubles.gateway_url,
        "OWN_URL": url,
        "DATABASE_URL": cluster.create_database(),
        "REDIS_URL": broker.url(1),
    }
    worker = ["{python}", "-m", "celery", "-A", "bench.peers.pipeline:celery", "worker"]
    worker += ["--loglevel", "ERROR", "--pool", "threads", "--concurrency", str(OPEN_CALLS)]
    worker += ["--without-gossip", "--without-mingle"]
    with ExitStack() as ending:
        server = web_server("bench.peers.pipeline:app", folder, port, python=python, env=env)
        web = ending.enter_context(server)
        doubles.portal.register_app("app.pipeline", "its secret", url)
        # It has no answer to the portal's start-up races: a status told in the first second may be lost.
        doubles.portal.configure(bucket={"enabled": False}, races={"enabled": False})
        doubles.portal.install(finish=True)
        celery = ending.enter_context(
            own_process("celery", worker, folder=folder, port=0, python=python, env=env)
        )
        parts = {
            "web": web,
            "worker": celery.pid,
            "PostgreSQL": cluster.process.pid,
            "Redis": broker.process.pid,
        }
        yield Pipeline(doubles, parts, url)


@contextmanager
def web_server(
    app: str,
    folder: Path,
    port: int,
    *,
    workers: int = 2,
    threads: int = 8,
    python: str = sys.executable,
    env: dict[str, str] | None = None,
) -> Iterator[int]:
    """gunicorn as the product uses it, or with one thread a process ("sync"); yields its pid."""
    config = folder / "gunicorn.conf.py"  # not the product's, which gunicorn would find in its folder
    config.write_text(f"workers = {workers}\nkeepalive = 65\ncontrol_socket_disable = True\n")
    kind = ["--worker-class", "gthread", "--threads", str(threads)] if threads > 1 else []
    command = ["{python}", "-m", "gunicorn", "-c", str(config), "--bind", f"127.0.0.1:{port}", *kind, app]
    name = f"web-{app.partition(':')[0].rpartition('.')[2]}-{port}"
    with own_process(name, command, folder=folder, port=port, python=python, env=env) as process:
        yield process.pid


def _environment() -> str:
    """Python of the pipeline's own environment, which is made or renewed when its requirements changed."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / ".stamp"
    wanted = REQUIREMENTS.read_text() + (PROJECT / "requirements.txt").read_text()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted)
        print(f"bench: Celery's environment took {time.monotonic() - began:.0f} s", file=sys.stderr)
    return str(python)
