"""One request as its bytes come in: only whether all of it is there, and which path it asks for.

gunicorn parses the same bytes afterwards and has the last word. Whatever looks odd here counts as whole, so
that gunicorn refuses it in its own words; at worst a strange request ends at its deadline.
"""

from __future__ import annotations

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 9 * 1024 * 1024  # more than any route takes; the rest of a longer body is never read
_LINE_LIMIT = 8190
_END = b"\r\n\r\n"


class Incoming:
    """The bytes of one request, and of what a client sent behind it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_whole = False
        self.is_cut = False  # whole as far as we read it: its connection cannot be used again
        self.waits_for_continue = False
        self.path = ""
        self._searched = 0
        self._body_at = 0  # 0: the head is not complete
        self._length = 0
        self._is_chunked = False
        self._chunk_at = 0

    def add(self, received: bytes) -> None:
        self.data += received
        if not self._body_at and not self.is_whole:
            self._look_for_head()
        if not self._body_at or self.is_whole:
            return
        if self._is_chunked:
            self._look_for_last_chunk()
        else:
            self.is_whole = len(self.data) >= self._body_at + self._length
        if not self.is_whole and max(self._length, len(self.data) - self._body_at) > BODY_LIMIT:
            self.is_whole = self.is_cut = True

    def _look_for_head(self) -> None:
        end = self.data.find(_END, max(0, self._searched - 3))
        self._searched = len(self.data)
        if end >= 0:
            self._read_head(bytes(self.data[:end]))
            self._body_at = self._chunk_at = end + len(_END)
        elif len(self.data) > HEAD_LIMIT or self.data.count(b"\n") != self.data.count(b"\r\n"):
            self.is_whole = self.is_cut = True

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.removeprefix(b"\r\n").split(b"\r\n")
        target = first.partition(b" ")[2].partition(b" ")[0]
        self.path = target.partition(b"?")[0].decode("latin-1")
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"content-length":
                self._length = int(value) if value.isdigit() and len(value) < 16 else 0
            elif name == b"transfer-encoding":
                self._is_chunked = b"chunked" in value
            elif name == b"expect":
                self.waits_for_continue = value == b"100-continue"

    def _look_for_last_chunk(self) -> None:
        while not self.is_whole:
            line_end = self.data.find(b"\r\n", self._chunk_at)
            if line_end < 0:
                self.is_whole = self.is_cut = len(self.data) - self._chunk_at > _LINE_LIMIT
                return
            size = _chunk_size(bytes(self.data[self._chunk_at : line_end]))
            if size is None:
                self.is_whole = self.is_cut = True
            elif size == 0:  # the last one; trailers may follow, up to an empty line
                self.is_whole = self.data.find(_END, line_end) >= 0
                return
            elif len(self.data) < line_end + size + 4:
                return
            else:
                self._chunk_at = line_end + size + 4


def _chunk_size(line: bytes) -> int | None:
    text = line.partition(b";")[0].strip()
    try:
        return int(text, 16) if text.isalnum() and len(text) < 12 else None
    except ValueError:
        return None
