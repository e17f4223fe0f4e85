"""The arrows between the rooms: who may import whom. See docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

# Each room and what it may import of ours, itself apart. `app/wiring.py` is the only one that sees all.
ARROWS: dict[str, set[str]] = {
    "domain": set(),
    "misspelt": set(),
    "config": {"domain", "misspelt"},
    "redaction": set(),
    "logs": {"redaction"},
    "error_reports": {"redaction"},
    "newkey": set(),
    "serving": set(),
    "version": set(),
    "transport": {"domain"},
    "words": {"domain"},
    "private_files": set(),
    "signed_hints": set(),
    "engine": {"config", "domain", "private_files", "signed_hints"},
    "gateways": {"domain", "redaction", "transport"},
    "bitrix": {"domain", "transport"},
    "store": {"domain", "config", "private_files", "redaction"},
    "services": {"bitrix", "config", "domain", "engine", "gateways", "store", "transport"},
    "registration": {"bitrix", "domain", "services", "store", "transport", "words"},
    "gateway_accounts": {"domain", "gateways", "store", "transport"},
    "actions": {"bitrix", "domain", "engine", "services", "store", "transport", "words"},
    "jobs": {
        "actions",
        "version",
        "bitrix",
        "domain",
        "engine",
        "gateways",
        "gateway_accounts",
        "registration",
        "services",
        "store",
        "transport",
        "words",
    },
    "web": {
        "actions",
        "bitrix",
        "domain",
        "engine",
        "gateway_accounts",
        "gateways",
        "registration",
        "services",
        "store",
        "transport",
        "version",
        "words",
    },
    "cli": {
        "actions",
        "bitrix",
        "domain",
        "gateway_accounts",
        "gateways",
        "jobs",
        "registration",
        "services",
        "store",
        "transport",
        "words",
    },
}

# The rooms of the store, each with what it may import of the others.
ARROWS_IN_STORE: dict[str, set[str]] = {
    "database": set(),
    "tables": {"database"},
    "leases": {"database"},
    "job_runs": {"database", "tables"},
    "audit": {"database", "tables"},
    "instances": {"audit", "database", "tables"},
    "portals": {"audit", "database", "leases", "tables"},
    "accounts": {"audit", "database", "leases", "portals", "tables"},
    "messages": {"accounts", "audit", "database", "leases", "portals", "tables"},
    "figures": {"database", "job_runs", "messages", "tables"},
    "bulk": {"audit", "database", "leases", "messages", "tables"},
    "upkeep": {"audit", "bulk", "database", "figures", "messages", "portals", "tables"},
}
# The same of the jobs, those with a room of their own.
ARROWS_IN_JOBS: dict[str, set[str]] = {
    "drain": set(),
    "hints": set(),
    "portals": {"hints"},
    "accounts": set(),
    "messages": {"drain", "hints", "portals"},
}
WITHIN = {"store": ARROWS_IN_STORE, "jobs": ARROWS_IN_JOBS}


def sources(folder: str) -> Iterator[Path]:
    return (PROJECT / folder).rglob("*.py")


def room_of(path: Path) -> str:
    parts = path.relative_to(PROJECT / "app").with_suffix("").parts
    return "" if parts in (("__init__",), ("wiring",)) else parts[0]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, with the line; `from a import b` counts as a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def wrong_arrows(path: Path) -> Iterator[str]:
    room = room_of(path)
    if not room:
        return
    for outer, arrows in WITHIN.items():
        if room == outer:
            yield from wrong_arrows_within(outer, arrows, path)
    for line, module in imported(path):
        parts = module.split(".")
        if parts[0] != "app" or parts[1] == room:
            continue
        if parts[1] not in ARROWS[room]:
            yield f"{path.relative_to(PROJECT)}:{line} {room} imports {parts[1]}"


def wrong_arrows_within(outer: str, arrows: dict[str, set[str]], path: Path) -> Iterator[str]:
    room = path.relative_to(PROJECT / "app" / outer).with_suffix("").parts[0]
    if room not in arrows:
        return
    for line, module in imported(path):
        parts = module.split(".")
        if parts[:2] == ["app", outer] and parts[2] not in {room} | arrows[room]:
            yield f"{path.relative_to(PROJECT)}:{line} {outer}.{room} imports {parts[2]}"


def test_every_room_of_the_store_has_its_arrows() -> None:
    rooms = {path.with_suffix("").name for path in (PROJECT / "app" / "store").iterdir()}

    assert rooms - {"__init__", "__pycache__"} == set(ARROWS_IN_STORE)


def test_every_import_follows_the_arrows() -> None:
    wrong = [line for path in sources("app") for line in wrong_arrows(path)]

    assert wrong == []


def test_a_wrong_arrow_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PROJECT", tmp_path)
    file = tmp_path / "app" / "web" / "page.py"
    file.parent.mkdir(parents=True)
    file.write_text("from app.jobs import submit\n")

    assert list(wrong_arrows(file)) == ["app/web/page.py:1 web imports jobs"]


def test_a_wrong_arrow_between_two_rooms_of_the_store_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.PROJECT", tmp_path)
    file = tmp_path / "app" / "store" / "portals" / "tokens.py"
    file.parent.mkdir(parents=True)
    file.write_text("from app.store.messages import messages\nfrom app.store.tables import portals\n")

    assert list(wrong_arrows(file)) == ["app/store/portals/tokens.py:1 store.portals imports messages"]


def test_the_rooms_have_no_circle() -> None:
    for graph in (ARROWS, *WITHIN.values()):
        list(TopologicalSorter(graph).static_order())  # raises where it finds one


def test_sandbox_and_product_meet_on_the_wire_only() -> None:
    sandbox = [f"{p}:{n}" for p in sources("sandbox") for n, m in imported(p) if m.split(".")[0] == "app"]
    product = [f"{p}:{n}" for p in sources("app") for n, m in imported(p) if m.split(".")[0] == "sandbox"]

    assert sandbox + product == []


def test_no_import_hides_inside_a_function() -> None:
    hidden = [
        f"{path.relative_to(PROJECT)}:{inner.lineno}"
        for path in sources("app")
        if path != PROJECT / "app" / "__init__.py"  # builds the application when it is asked to
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]

    assert hidden == []


def test_a_room_is_imported_without_all_the_others() -> None:
    loaded = "import sys, app.domain.status; print(*sorted({name.split('.')[0] for name in sys.modules}))"

    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert "app" in done.stdout.split()
    assert not {"flask", "sqlalchemy", "huey", "redis", "sentry_sdk", "requests"} & set(done.stdout.split())
