"""Writes into the docs what the code knows of gateways: each page's table of settings, the pages of presets,
and the table in the README, which has its last column from the pages.

Run it after a change of a gateway's fields or of a preset. `--check` only says what would change.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.gateways.base import Field, Gateway  # noqa: E402
from app.gateways.registry import load_registry, place_in_list  # noqa: E402

PAGES = PROJECT / "docs" / "gateways"
README = PROJECT / "README.md"
_TABLE = re.compile(r"\| setting \| \| meaning \|\n\|---\|---\|---\|\n(?:\|.*\n)*")
_HEADINGS = ("Get an account", "Settings", "Delivery reports", "Limits and quirks", "How it was tried")


def settings_table(gateway: type[Gateway]) -> str:
    """The table of a page, one line for each setting."""
    rows = (f"| `{field.name}` | {_kind(field)} | {_meaning(field)} |\n" for field in gateway.fields)
    return "| setting | | meaning |\n|---|---|---|\n" + "".join(rows)


def _kind(field: Field) -> str:
    words = ["required"] if field.required else []
    words += ["secret"] if field.secret else []
    words += ["advanced"] if field.advanced else []
    if field.choices:
        words.append("one of " + ", ".join(f"`{value}`" for value, _ in field.choices if value))
    if field.default and field.kind != "json":
        words.append(f"default `{field.default}`")
    return ", ".join(words)


def _meaning(field: Field) -> str:
    text = field.help or f"{field.label}."
    text += f" Example: `{field.example}`" if field.example else ""
    return text.replace("|", "\\|") if "|" in text else text


def page_of_preset(gateway: type[Gateway]) -> str:
    """The whole page of a preset: its data file has the words."""
    about = getattr(gateway, "about", {})
    parts = [f"# {gateway.title}", about["what"]]
    for heading in _HEADINGS:
        text = settings_table(gateway) if heading == "Settings" else about[heading]
        parts += [f"## {heading}", text.rstrip("\n")]
    return "\n\n".join(parts) + "\n"


def written(gateway: type[Gateway]) -> tuple[Path, str]:
    """A gateway's page and what should stand in it."""
    path = PAGES / f"{gateway.slug}.md"
    if gateway.kind == "preset":
        return path, page_of_preset(gateway)
    page = path.read_text(encoding="utf-8")
    table = settings_table(gateway)
    return path, _TABLE.sub(lambda _: table, page, count=1)


# --- the table in the README

_BETWEEN = re.compile(r"(<!-- gateways: .*? -->\n).*?(<!-- /gateways -->)", re.DOTALL)
_REPORTS = {
    "callback": "it calls us",
    "poll": "it is asked",
    "both": "it calls us, and is asked",
    "line": "over the line",
    "none": "none",
}


def readme_table(gateways: Iterable[type[Gateway]], pages: Mapping[str, str]) -> str:
    """A line for each gateway, in the order of the cards; `pages` are their texts by slug."""
    rows = (
        f"| [{gateway.title}](docs/gateways/{gateway.slug}.md) | `{gateway.slug}` | {_reports(gateway)}"
        f" | {_tried(pages[gateway.slug])} |\n"
        for gateway in sorted(gateways, key=place_in_list)
    )
    return "| gateway | slug | delivery reports | how it was tried |\n|---|---|---|---|\n" + "".join(rows)


def _reports(gateway: type[Gateway]) -> str:
    can = gateway.capabilities
    words = _REPORTS[can.reports]
    if can.webhooks:
        return f"{words}; the app sets that up"
    if can.per_message_callback:
        return f"{words}; nothing to set up"
    return f"{words}; paste an address once" if can.reports in ("callback", "both") and can.sends else words


def _tried(page: str) -> str:
    """The first paragraph of the page's last section."""
    section = page.partition("## How it was tried\n")[2].strip()
    return " ".join(section.partition("\n\n")[0].split())


def all_written(gateways: Sequence[type[Gateway]]) -> dict[Path, str]:
    """Every file and what should stand in it."""
    files = dict(written(gateway) for gateway in gateways)
    table = readme_table(gateways, {path.stem: text for path, text in files.items()})
    readme = README.read_text(encoding="utf-8")
    return {**files, README: _BETWEEN.sub(lambda found: found[1] + table + found[2], readme)}


def main() -> int:
    """Write the pages, or tell which ones are behind."""
    behind = []
    for path, text in all_written(list(load_registry().adapters.values())).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            behind.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    print(f"{'behind' if '--check' in sys.argv else 'written'}: {', '.join(behind) or 'none'}")
    return 1 if behind and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
