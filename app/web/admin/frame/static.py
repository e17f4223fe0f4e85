"""Static files of the pages: their address carries a hash of their content, so they are kept for ever."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, abort, request, url_for

from app.web.admin.frame.headers import add_headers

blueprint = Blueprint("ui_static", __name__)

STATIC = Path(__file__).parents[2] / "static" / "ui"


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
