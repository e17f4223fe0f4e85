"""Request bodies, read to a limit."""

from __future__ import annotations

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge


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
