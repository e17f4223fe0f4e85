"""Bodies as other systems write them: in the charset that they name, with a byte order mark or without."""

from __future__ import annotations

import codecs
import json as jsonlib
import re
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_XML_CHARSET = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding=["']([A-Za-z0-9._-]{1,40})["']""")
PARTS_LIMIT = 1_000  # fields of one form


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, as one that we can read; empty when there is none."""
    header = Message()
    header["Content-Type"] = content_type
    name = str(header.get_param("charset") or "").strip("\"' ")
    try:
        b"a".decode(name, errors="replace")  # some codecs are no charsets, or know no replacement
    except (LookupError, ValueError):
        return ""
    return codecs.lookup(name).name


def decode_text(body: bytes, content_type: str = "") -> str:
    """A body as text; what cannot be read becomes the replacement character.

    A byte order mark tells more than a header, and a header more than an XML declaration.
    """
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return body.decode(charset, errors="replace")
    charset = charset_of(content_type)
    if not charset and (found := _XML_CHARSET.match(body)):
        charset = charset_of(f"text/xml; charset={found[1].decode()}")
    return body.decode(charset or "utf-8", errors="replace")


def parse_json(body: bytes, content_type: str = "") -> Any:
    """The parsed body; raises ValueError when it is not JSON."""
    text = decode_text(body, content_type)
    try:
        return jsonlib.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def parse_form(body: bytes, content_type: str = "") -> list[tuple[str, str]]:
    """Names and values of a form, multipart too, in their order; raises ValueError for too many."""
    if content_type.lower().lstrip().startswith("multipart/"):
        return _parse_multipart(body, content_type)
    charset = charset_of(content_type) or "utf-8"
    text = body.decode("utf-8-sig" if charset == "utf-8" else charset, errors="replace")
    return parse_qsl(
        text, keep_blank_values=True, encoding=charset, errors="replace", max_num_fields=PARTS_LIMIT
    )


def _parse_multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", errors="replace")
    if body.count(b"\n--") > PARTS_LIMIT:
        raise ValueError("too many parts")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    fields = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields.append((name, decode_text(content, str(part.get("Content-Type", "")))))
    return fields
