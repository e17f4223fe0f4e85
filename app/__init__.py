"""The product. `create_app()` is all that servers and commands need; `app.wiring` puts the rooms together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.config import Config


def create_app(config: Config | None = None) -> Flask:
    """The application of one process: web, worker or command alike."""
    # Here and not above: whoever imports one room shall not load all of them.
    from app.wiring import build  # noqa: PLC0415

    return build(config)
