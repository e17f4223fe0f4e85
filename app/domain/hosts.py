"""Host names in their one spelling: ASCII, by IDNA 2008."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import idna


def ascii_host(host: str) -> str:
    """The name as it travels in headers, URLs and look-ups, in small letters.

    Python's own codec goes by IDNA 2003 and would turn `faß.example` into another owner's `fass.example`.

    Raises:
        ValueError: not a name that anybody could own.
    """
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError("not a host name") from error


def ascii_url(url: str) -> str:
    """The same address with its host in ASCII; what is no address stays as it is, for others to refuse."""
    if url.isascii():
        return url
    try:
        parts = urlsplit(url)
        before, at, place = parts.netloc.rpartition("@")
        host, colon, port = place.partition(":")
        return urlunsplit(parts._replace(netloc=f"{before}{at}{ascii_host(host)}{colon}{port}"))
    except ValueError:
        return url
