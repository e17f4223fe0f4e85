"""Writes into docs/gateways what the code knows: each page's table of settings, and the pages of presets.

Run it after a change of a gateway's fields or of a preset. `--check` only says what would change.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.gateways.base import Field, Gateway  # noqa: E402
from app.gateways.registry import load_registry  # noqa: E402

PAGES = PROJECT / "docs" / "gateways"
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


def main() -> int:
    """Write the pages, or tell which ones are behind."""
    behind = []
    for gateway in load_registry().adapters.values():
        path, text = written(gateway)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            behind.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    print(f"{'behind' if '--check' in sys.argv else 'written'}: {', '.join(behind) or 'none'}")
    return 1 if behind and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
