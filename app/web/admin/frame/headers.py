"""What every answer to the portal's frame has in common: who may frame it, and its headers."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import Response, g

from app.domain.hosts import ascii_url

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {}"
)


_ORIGIN = re.compile(r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def allow_framing_by(address: str) -> None:
    """Scheme, host and port of the portal that may show this answer in its frame; nobody, if it has none."""
    parts = urlsplit(ascii_url(address))
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    g.frame_ancestor = origin if _ORIGIN.fullmatch(origin) else "'none'"


def add_headers(response: Response) -> Response:
    """Before anybody is verified nothing on the page is secret, so it may be seen in any frame."""
    response.headers["Content-Security-Policy"] = _POLICY.format(g.get("frame_ancestor") or "*")
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
