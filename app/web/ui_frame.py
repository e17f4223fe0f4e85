"""What every answer to the portal's frame has in common: who may frame it, its headers, its static files."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, g, request, url_for

blueprint = Blueprint("ui_static", __name__)

STATIC = Path(__file__).parent / "static" / "ui"
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


# --- static files: their address carries a hash of their content, so they are kept for ever


@dataclass(frozen=True)
class _File:
    body: bytes
    packed: bytes
    digest: str
    mimetype: str


@cache
def _files() -> dict[str, _File]:
    found = {}
    for path in STATIC.rglob("*"):
        if path.suffix in (".js", ".css", ".svg"):
            body = path.read_bytes()
            found[path.relative_to(STATIC).as_posix()] = _File(
                body=body,
                packed=gzip.compress(body, mtime=0),
                digest=hashlib.sha256(body).hexdigest()[:12],
                mimetype=mimetypes.types_map[path.suffix],
            )
    return found


def static_url(name: str) -> str:
    return url_for("ui_static.send", digest=_files()[name].digest, name=name)


@blueprint.get("/ui/static/<digest>/<path:name>")
def send(digest: str, name: str) -> Response:
    file = _files().get(name)
    if file is None or file.digest != digest:
        abort(404)
    wants_packed = request.accept_encodings["gzip"] > 0
    response = Response(file.packed if wants_packed else file.body, mimetype=file.mimetype)
    if wants_packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


blueprint.after_request(add_headers)
