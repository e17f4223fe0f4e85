"""What every answer to the portal's frame has in common: who may frame it, and its headers."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, g

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {}"
)


def allow_framing_by(address: str) -> None:
    """Scheme, host and port of the portal that may show this answer in its frame."""
    parts = urlsplit(address)
    g.frame_ancestor = f"{parts.scheme}://{parts.netloc}"


def add_headers(response: Response) -> Response:
    """Before anybody is verified nothing on the page is secret, so it may be seen in any frame."""
    response.headers["Content-Security-Policy"] = _POLICY.format(g.get("frame_ancestor") or "*")
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
