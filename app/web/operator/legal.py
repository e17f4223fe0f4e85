"""Privacy policy and licence agreement, which a marketplace card links to: pages that open in any browser.

An operator with pages of their own names them in PRIVACY_URL and LICENSE_URL. With texts of their own, they
put `privacy.txt` or `license.txt` into the instance folder. Else the texts of `app/web/legal` are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flask import Response, abort, render_template

from app.services import services
from app.web.admin.frame import document, static

blueprint = document.open_blueprint("legal")

_TEXTS = Path(__file__).parents[1] / "legal"


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph, or the items of a list."""

    kind: str
    text: str = ""
    items: tuple[str, ...] = ()


@blueprint.get("/privacy")
def privacy() -> Response:
    return _page("privacy.txt", services().config.privacy_url)


@blueprint.get("/license")
def license_agreement() -> Response:
    return _page("license.txt", services().config.license_url)


def _page(name: str, elsewhere: str) -> Response:
    if elsewhere:
        return Response(status=302, headers={"Location": elsewhere})
    own = services().config.instance_dir / name
    try:
        text = (own if own.is_file() else _TEXTS / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        abort(503)
    blocks = list(_blocks(_filled(text)))
    html = render_template("legal.html", blocks=blocks, title=blocks[0].text, static_url=static.static_url)
    return Response(html)


def _filled(text: str) -> str:
    config = services().config
    contact = config.support_contact or config.public_url
    operator = config.operator_name or f"the operator of {config.public_url}"
    for word, value in (
        ("{app}", config.app_name),
        ("{operator}", operator),
        ("{contact}", contact),
        ("{url}", config.public_url),
    ):
        text = text.replace(word, value)
    return text


def _blocks(text: str) -> list[Block]:
    """Headings (`#`, `##`), lists (`-`) and paragraphs, parted by empty lines: all that such a text needs."""
    found = []
    for part in filter(None, (part.strip() for part in text.split("\n\n"))):
        lines = part.splitlines()
        if part.startswith("#"):
            level = "h1" if part.startswith("# ") else "h2"
            found.append(Block(level, part.lstrip("# ")))
        elif all(line.startswith("- ") for line in lines):
            found.append(Block("ul", items=tuple(line[2:] for line in lines)))
        else:
            found.append(Block("p", " ".join(lines)))
    return found
