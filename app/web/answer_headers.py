"""What every answer has in common, errors too: nothing is kept, guessed, framed or run."""

from __future__ import annotations

from flask import Flask, Response

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def init_app(app: Flask) -> None:
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    """Pages have set their own by now, see `admin.frame.headers`."""
    for name, value in (
        ("Content-Security-Policy", NOTHING),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ):
        response.headers.setdefault(name, value)
    return response
