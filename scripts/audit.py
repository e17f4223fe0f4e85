"""Compares every pin and vendored script with a list of advisories, without the internet.

Usage: scripts/audit.py [FILE ...]. A file is a record in the OSV format
(https://ossf.github.io/osv-schema/), a JSON list of such records, or a zip of them, as OSV publishes for each
ecosystem; none: the project's own list.
Prints each hit and ends with 1 when there was one.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import sbom
from packaging.version import InvalidVersion, Version

PROJECT = Path(__file__).resolve().parent.parent
KEPT = PROJECT / "deploy/advisories.json"


def used() -> set[tuple[str, str, str]]:
    """Ecosystem, name and version of everything that runs in production or in the tests."""
    scripts = [each for each in sbom.bill()["components"] if each["purl"].startswith("pkg:npm/")]
    return {("PyPI", name, version) for name, version in sbom.pins("requirements-dev.lock")} | {
        ("npm", sbom.normal(each["name"]), each["version"]) for each in scripts
    }


def records(file: Path) -> Iterator[dict[str, Any]]:
    """What the file says; one that cannot be read ends the command."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as folder:
            yield from (json.loads(folder.read(name)) for name in folder.namelist() if name.endswith(".json"))
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    yield from found if isinstance(found, list) else [found]


def concerns(record: dict[str, Any], ecosystem: str, name: str, version: str) -> bool:
    """Whether this version has the fault."""
    for affected in record.get("affected", []):
        package = affected.get("package", {})
        if (package.get("ecosystem"), sbom.normal(package.get("name", ""))) != (ecosystem, name):
            continue
        if version in affected.get("versions", []):
            return True
        if any(
            _is_within(each["events"], version)
            for each in affected.get("ranges", [])
            if each["type"] != "GIT"
        ):
            return True
    return False


def _is_within(events: list[dict[str, str]], version: str) -> bool:
    """Events are in their order, as the format asks."""
    ours, is_hit = Version(version), False
    for event in events:
        try:
            if "introduced" in event:
                is_hit = is_hit or event["introduced"] == "0" or ours >= Version(event["introduced"])
            elif "fixed" in event:
                is_hit = is_hit and ours < Version(event["fixed"])
            elif "last_affected" in event:
                is_hit = is_hit and ours <= Version(event["last_affected"])
        except InvalidVersion:
            return True  # better a hit too many than one that is missed
    return is_hit


def main(files: list[str]) -> int:
    """Print the hits; how many things were compared with how many advisories."""
    mine, count, hits = used(), 0, 0
    for record in chain.from_iterable(records(Path(file)) for file in files or [KEPT]):
        count += 1
        for ecosystem, name, version in sorted(mine):
            if not record.get("withdrawn") and concerns(record, ecosystem, name, version):
                hits += 1
                print(f"{name} {version}: {record['id']} {record.get('summary', '')}".rstrip())
    print(f"{len(mine)} packages and scripts, {count} advisories, {hits} hits")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
