"""`flask --app app worker`"""

from __future__ import annotations

import click

from app.jobs.sweep import sweep
from app.services import services


@click.command()
def worker() -> None:
    """Run the job engine's consumer and the sweeper until SIGTERM."""
    parts = services()
    parts.engine.run_consumer(tick=lambda: sweep(parts), every_s=parts.timing.sweep_s)
