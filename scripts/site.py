"""What MkDocs asks while it builds the site of `make site`.

Gateways' pages are found, not listed, so that a new one needs no change here; links to files outside `docs/`
become their paths, since a site has not got them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Put the gateways' pages into their place of the navigation."""
    docs = Path(config.docs_dir)
    pages = [path.relative_to(docs).as_posix() for path in sorted(docs.glob("gateways/*.md"))]
    next(entry for entry in config.nav if "Gateways" in entry)["Gateways"] = pages
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """`[the unit](../deploy/x.service)` reads as `the unit (deploy/x.service)` there."""

    def outside(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_path), link[2]))
        return link[0] if path.startswith("docs/") else f"{link[1]} (`{path}`)"

    return _LINK.sub(outside, markdown)
