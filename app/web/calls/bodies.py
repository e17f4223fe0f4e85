"""Request bodies, read to a limit."""

from __future__ import annotations

import logging

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """A body that breaks the rules of HTTP (a chunk without its size) is found out by whoever reads it."""
    app.register_error_handler(ParseException, _not_http)


def _not_http(error: ParseException) -> Response:
    log.warning("a body is not HTTP", extra={"why": type(error).__name__})
    return Response("the body is not HTTP\n", status=400, content_type="text/plain; charset=utf-8")


def limit(limit_bytes: int) -> None:
    """What `read` will take at the most; a longer Content-Length is refused before anything is read."""
    request.max_content_length = limit_bytes + 1


def read() -> bytes:
    """The whole body of the request.

    A body without a Content-Length is cut off at the limit without a word, and half a message must never
    pass for a whole one: so the limit is one byte wider than what we take.

    Raises:
        RequestEntityTooLarge: longer than the limit; answered 413.
    """
    data: bytes = request.get_data()
    if request.max_content_length is not None and len(data) >= request.max_content_length:
        raise RequestEntityTooLarge
    return data
