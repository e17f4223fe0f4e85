"""`flask --app app smpp`"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import click
from flask import current_app

from app.jobs import instance
from app.jobs.lines import LineKeeper
from app.services import services


@click.command()
def smpp() -> None:
    """Keep the lines of SMPP accounts and send over them, until SIGTERM. Any number may run; each account's
    line is kept by one of them."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def in_app(work: Callable[[], None]) -> None:
        with app.app_context():
            work()

    stopping = threading.Event()
    process = instance.Process(services(), "smpp", end=stopping.set)

    def look_until_the_end() -> None:
        while not stopping.wait(services().timing.sweep_s):
            process.look()

    def work() -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopping.set())
        looking = threading.Thread(target=in_app, args=(look_until_the_end,), name="instance", daemon=True)
        looking.start()
        LineKeeper(services(), in_app).run(stopping)

    instance.run(process, work)
