"""scripts/audit.py: a pin with a known advisory is found, whoever's list it is."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sandbox.processes import PROJECT


def _audit(*files: Path) -> tuple[int, str]:
    command = [sys.executable, PROJECT / "scripts/audit.py", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _record(name: str, *events: dict[str, str], ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    package = {"ecosystem": ecosystem, "name": name}
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    return {"id": f"X-{name}", "affected": [{"package": package, "ranges": ranges}], **more}


def test_no_pin_and_no_vendored_script_has_an_advisory_that_we_know_of() -> None:
    code, said = _audit()

    assert code == 0, said
    assert said.endswith(" 0 hits\n")


@pytest.mark.parametrize("packed", [False, True], ids=["list", "zip"])
def test_each_way_to_name_a_version_is_understood(tmp_path: Path, packed: bool) -> None:
    begin = {"introduced": "0"}
    by_list = {"id": "X-listed", "affected": [{"package": {"ecosystem": "PyPI", "name": "Flask"}}]}
    pinned = next(
        line for line in (PROJECT / "requirements.txt").read_text().splitlines() if line.startswith("Flask==")
    )
    by_list["affected"][0]["versions"] = [pinned.partition("==")[2].partition(" ")[0]]  # type: ignore[index]
    hits = [
        _record("requests", begin),
        _record("Flask_SQLAlchemy", begin, {"fixed": "999"}),
        _record("huey", begin, {"fixed": "0.1"}, {"introduced": "1"}),
        _record("click", begin, {"last_affected": "999"}),
        _record("htmx.org", begin, ecosystem="npm"),
        by_list,
    ]
    others = [
        _record("redis", begin, {"fixed": "0.1"}),
        _record("gunicorn", {"introduced": "999"}),
        _record("alembic", begin, withdrawn="2026-01-01T00:00:00Z"),
        _record("requests", begin, ecosystem="npm"),
    ]
    file = tmp_path / "advisories"
    if packed:
        with zipfile.ZipFile(file, "w") as folder:
            for number, record in enumerate(hits + others):
                folder.writestr(f"{number}.json", json.dumps(record))
    else:
        file.write_text(json.dumps(hits + others))

    code, said = _audit(file)

    assert code == 1
    assert {line.split()[2] for line in said.splitlines()[:-1]} == {each["id"] for each in hits}
