"""gunicorn with the project's settings around an application of three lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.processes import PROJECT, Process, on_free_port

SMALL = """
def application(environ, start_response):
    if environ["PATH_INFO"].endswith("/broken"):
        raise RuntimeError("no way to " + environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

Serve = Callable[..., tuple[Process, int]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(*options, application=..., settings=...)` starts gunicorn; returns its process and port.

    `settings` are lines that come after those of gunicorn.conf.py.
    """
    started: list[Process] = []

    def start(
        *options: str, application: str = SMALL, settings: str = "", env: Mapping[str, str] | None = None
    ) -> tuple[Process, int]:
        (tmp_path / "small.py").write_text(application)
        config = tmp_path / "config.py"
        project = PROJECT / "gunicorn.conf.py"
        config.write_text(f"__file__ = {str(project)!r}\nexec(open(__file__).read())\n{settings}\n")

        def start_on_port(port: int) -> None:
            command = [sys.executable, "-m", "gunicorn", "-c", str(config), *options]
            process = Process(
                "web",
                [*command, "--bind", f"127.0.0.1:{port}", "small:application"],
                log=tmp_path / f"web-{len(started)}.log",
                env={"PATH": os.environ["PATH"], "WEB_CONCURRENCY": "1", **(env or {})},
                cwd=tmp_path,
                is_ready=lambda process: "Booting worker" in process.output(),
            )
            started.append(process)
            process.start()
            process.wait_ready()

        port = on_free_port(start_on_port)
        return started[-1], port

    yield start
    for process in started:
        process.kill()
