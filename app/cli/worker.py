"""`flask --app app worker`"""

from __future__ import annotations

import logging

import click

from app.jobs.tick import keep_counts, tick
from app.services import services

log = logging.getLogger(__name__)


@click.command()
def worker() -> None:
    """Run the job engine's consumer and the sweeper until SIGTERM."""
    parts = services()
    for warning in parts.warnings:
        log.warning(warning)
    try:
        parts.engine.run_consumer(tick=lambda: tick(parts), every_s=parts.timing.sweep_s)
    finally:
        keep_counts(parts)
