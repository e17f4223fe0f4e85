"""`flask --app app worker`"""

from __future__ import annotations

import logging
import os
import signal

import click

from app.jobs import instance
from app.jobs.tick import keep_counts, tick
from app.services import services

log = logging.getLogger(__name__)


@click.command()
def worker() -> None:
    """Run the job engine's consumer and the sweeper until SIGTERM."""
    parts = services()
    for warning in parts.warnings:
        log.warning(warning)
    process = instance.Process(parts, "worker", end=lambda: os.kill(os.getpid(), signal.SIGTERM))

    def look_and_tick() -> None:
        process.look()
        if not process.rests:
            tick(parts)

    def work() -> None:
        try:
            parts.engine.run_consumer(tick=look_and_tick, every_s=parts.timing.sweep_s)
        finally:
            keep_counts(parts)

    instance.run(process, work)
