"""The site that `make site` builds from docs/, and what its pages name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.processes import PROJECT

PAGES = [*(PROJECT / "docs").rglob("*.md"), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"]
_ROOMS = "app|bench|deploy|docs|migrations|sandbox|scripts|tests"
_ROOMS_OF_APP = "|".join(path.name for path in (PROJECT / "app").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # a dead link, a dead anchor, a page that no menu has
    return folder


def test_the_site_has_every_page_and_each_can_be_found(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    known = {entry["location"].partition("#")[0] for entry in index["docs"]}

    pages = [
        path.relative_to(PROJECT / "docs").with_suffix(".html") for path in (PROJECT / "docs").rglob("*.md")
    ]
    assert [str(page) for page in pages if not (site / page).is_file() or page.as_posix() not in known] == []


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    loaded = r"""<(?:script|img|iframe)[^>]+src=["']?(?:https?:)?//|<link[^>]+href=["']?(?:https?:)?//"""

    assert [page.name for page in site.rglob("*.html") if re.search(loaded, page.read_text("utf-8"))] == []


def test_every_file_that_a_page_names_exists() -> None:
    missing = [
        f"{page.name}: {named}"
        for page in PAGES
        for named in re.findall(rf"`((?:{_ROOMS})/[\w./-]+)`", page.read_text(encoding="utf-8"))
        if not (PROJECT / named).exists() and "acme" not in named  # acme is what the reader makes
    ]

    assert missing == []


def test_every_function_that_a_page_names_exists() -> None:
    """Written as `store/messages/claims.take`, or as `app/gateways/kit/contract.py::test_...`."""
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(rf"`({_ROOMS_OF_APP})/([\w/]+)(?:\.(\w+))?`", text)
        inside = [(f"app/{room}/{path}.py", name) for room, path, name in named if name != "py"]
        for file, name in inside + re.findall(r"`(app/[\w/]+\.py)::(\w+)`", text):
            source = PROJECT / file
            is_there = source.is_file() or (not name and source.with_suffix("").is_dir())
            if not is_there or (name and not _defines(source, name)):
                missing.append(f"{page.name}: {file} {name}")

    assert missing == []


def _defines(source: Path, name: str) -> bool:
    return re.search(rf"^\s*(?:def|class) {name}\b", source.read_text("utf-8"), re.MULTILINE) is not None
