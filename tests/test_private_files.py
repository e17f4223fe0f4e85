"""What we write is readable by its owner alone, whatever the umask says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.services import services
from app.store.database.spool import Spool, SpooledCall
from tests.worlds.product import a_portal, product


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


def test_database_engine_and_spool_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "instance"

    with product(folder, SPOOL_DIR=str(folder / "spool")):
        a_portal()
        services().engine.hint("submit", 1)
        Spool(folder / "spool").add(SpooledCall("secret", b"body", datetime.now(UTC)))
        found = _modes(folder)

    spooled = {name: mode for name, mode in found.items() if name.endswith(".spool")}
    assert len(spooled) == 1
    assert {"app.db", "app.db-wal", "app.db.turn", "app.engine", *spooled} <= set(found)
    folders = {"spool"}
    assert {name: mode for name, mode in found.items() if name not in folders and mode != "0o600"} == {}
    assert (oct(folder.stat().st_mode & 0o777), found["spool"]) == ("0o700", "0o700")


def test_files_of_an_earlier_release_lose_others_rights(tmp_path: Path) -> None:
    with product(tmp_path):
        services().engine.hint("submit", 1)
        for file in tmp_path.iterdir():
            file.chmod(0o666)

    with product(tmp_path):
        services().engine.hint("submit", 1)
        found = _modes(tmp_path)

    assert {found["app.db"], found["app.engine"]} == {"0o600"}
