"""The pages keep up with the code: every variable, delay, gateway, reason and command is in them."""

from __future__ import annotations

import re
import struct
from dataclasses import fields
from pathlib import Path

import pytest

from app import cli
from app.domain.retry import Timing
from app.gateways.registry import load_registry
from scripts import gateway_pages

PROJECT = Path(__file__).resolve().parent.parent
CONFIGURATION = (PROJECT / "docs/configuration.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_every_variable_is_documented() -> None:
    source = (PROJECT / "app/config.py").read_text(encoding="utf-8")
    names = set(re.findall(r'environ(?:\.get\(|, )"([A-Z][A-Z0-9_]+)"', source))

    assert len(names) > 10
    assert [name for name in sorted(names) if f"`{name}`" not in CONFIGURATION] == []


def test_every_delay_is_documented_with_its_default() -> None:
    missing = [
        field.name
        for field in fields(Timing)
        if not re.search(
            rf"`{field.name}`.*\| {field.default:g}|`{field.name}`.*{int(field.default)}", CONFIGURATION
        )
    ]

    assert missing == []


def test_pages_of_gateways_and_the_table_in_the_readme_are_as_the_code_has_it() -> None:
    """Else run `scripts/gateway_pages.py`."""
    files = gateway_pages.all_written(list(load_registry().adapters.values()))

    behind = [path.name for path, text in files.items() if path.read_text(encoding="utf-8") != text]

    assert behind == []


@pytest.mark.parametrize("slug", sorted(load_registry().adapters))
def test_every_gateway_has_its_page_and_is_in_the_readme(slug: str) -> None:
    page = (PROJECT / "docs/gateways" / f"{slug}.md").read_text(encoding="utf-8")

    assert f"docs/gateways/{slug}.md" in README
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "Get an account",
        "Settings",
        "Delivery reports",
        "Limits and quirks",
        "How it was tried",
    ]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [path for path in PROJECT.glob("**/*.md") if ".venv" not in path.parts]
    broken = [
        f"{page.relative_to(PROJECT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_every_command_group_is_in_the_operators_page() -> None:
    operations = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")
    groups = {"portals": cli.portals_group, "messages": cli.messages_group, "senders": cli.senders_group}

    assert [name for name in groups if f"app {name} " not in operations] == []


def test_every_threat_names_tests_that_exist_or_a_reason() -> None:
    page = (PROJECT / "docs/security.md").read_text(encoding="utf-8")
    threats = re.findall(r"^\| (S\d+) \|(.*)\|$", page, re.MULTILINE)

    assert [number for number, _ in threats] == [f"S{number}" for number in range(1, 26)]
    for number, row in threats:
        reason = row.rpartition("|")[2]
        assert "::test_" in reason or "none:" in row, number


def test_every_line_of_the_moderation_names_a_test_or_a_reason() -> None:
    page = (PROJECT / "docs/marketplace/moderation.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (M\d+) \|(.*)\|$", page, re.MULTILINE)

    assert [number for number, _ in lines] == [f"M{number}" for number in range(1, 27)]
    for number, row in lines:
        proof = row.rpartition("|")[2]
        assert "::test_" in proof or "none:" in proof, number


def test_every_section_of_asvs_names_a_test_or_a_reason() -> None:
    page = (PROJECT / "docs/security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (V\d[^|]*) \|(.*)\|$", page, re.MULTILINE)

    assert {int(number) for section, _ in rows for number in re.findall(r"V(\d+)", section)} == set(
        range(1, 17)
    )
    for section, row in rows:
        assert row.count("|") == 2, section
        proof = row.rpartition("|")[2]
        assert "::test_" in proof or "none:" in proof, section


def test_every_method_that_is_called_is_in_a_scope_of_the_card() -> None:
    card = (PROJECT / "docs/marketplace/card.md").read_text(encoding="utf-8")
    scopes = set(re.findall(r"^\| `(\w+)` \| (?:yes|no) \|", card, re.MULTILINE))
    source = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "app/bitrix").glob("*.py"))
    called = set(re.findall(r'"((?:[a-z]+\.)+[a-z]+)"', source))
    needs_none = {
        "app",
        "event",
        "method",
        "oauth",
    }  # every application may call these; the last is another server's

    used = {name.split(".")[0] for name in called} - needs_none
    assert used == scopes == {"messageservice", "im"}


def test_the_card_speaks_every_language_of_the_app() -> None:
    card = (PROJECT / "docs/marketplace/card.md").read_text(encoding="utf-8")
    install = (PROJECT / "docs/marketplace/install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| Tellback SMS \| ([^|]+) \| ([^|]+) \|$", card, re.MULTILINE)
    sections = re.findall(r"^## (\w+)\n\n((?:\d\. .+\n)+)", install, re.MULTILINE)

    languages = {path.name for path in (PROJECT / "app/words/translations").iterdir() if path.is_dir()}
    assert len(rows) == len(languages) + 1
    assert [name for name, _ in sections] == [name for name, _, _ in rows]
    assert [name for name, _, short in rows if len(short) > 120] == []
    assert [name for name, steps in sections if len(steps.splitlines()) != 6] == []


def test_the_icon_is_of_a_size_that_the_store_takes() -> None:
    header = (PROJECT / "docs/marketplace/icon.png").read_bytes()[:26]
    width, height, depth, colours = struct.unpack(">IIBB", header[16:26])

    assert header.startswith(b"\x89PNG")
    assert 250 <= width == height <= 650
    assert (depth, colours) == (8, 2)  # without transparency


def test_every_page_is_found_from_the_first_one() -> None:
    docs = PROJECT / "docs"
    index = (docs / "index.md").read_text(encoding="utf-8")
    pages = {*docs.glob("*.md"), *docs.glob("marketplace/*.md")} - {docs / "index.md"}

    assert [page.name for page in sorted(pages) if f"({page.relative_to(docs)})" not in index] == []


def test_every_test_that_a_page_names_exists() -> None:
    missing = []
    for page in (PROJECT / "docs").rglob("*.md"):
        file = ""
        for named, test in re.findall(r"`(tests/[\w/]+\.py)?::(test_\w+)`", page.read_text(encoding="utf-8")):
            file = named or file
            source = PROJECT / file
            if not source.is_file() or f"def {test}(" not in source.read_text(encoding="utf-8"):
                missing.append(f"{page.name}: {file}::{test}")

    assert missing == []
