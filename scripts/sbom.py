"""Prints what the product is made of as CycloneDX JSON: the pins of production and the vendored scripts.

Equal files give equal bytes: there is no date and no random number in it, so two releases can be compared.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.version import VERSION  # noqa: E402

VENDOR = PROJECT / "app/web/static/ui/vendor"
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.!+-]+)", re.MULTILINE)
VENDORED = re.compile(r"^== (\S+\.js): (\S+) (\S+) ", re.MULTILINE)


def normal(name: str) -> str:
    """A package's name in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> Iterator[tuple[str, str]]:
    """Name and version of every package that a file of requirements or a lock file pins."""
    for name, version in PIN.findall((PROJECT / file).read_text(encoding="utf-8")):
        yield normal(name), version


def _packages() -> Iterator[dict[str, object]]:
    for name, version in pins("requirements.txt"):
        yield _component(name, version, f"pkg:pypi/{name}@{version}")


def _vendored() -> Iterator[dict[str, object]]:
    for file, name, version in VENDORED.findall((VENDOR / "LICENSES").read_text(encoding="utf-8")):
        digest = hashlib.sha256((VENDOR / file).read_bytes()).hexdigest()
        component = _component(name, version, f"pkg:npm/{name.replace('@', '%40')}@{version}")
        yield {**component, "hashes": [{"alg": "SHA-256", "content": digest}]}


def _component(name: str, version: str, purl: str) -> dict[str, object]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill() -> dict[str, Any]:
    """What a release is made of, in the format's terms."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "sms-provider", "version": VERSION}},
        "components": [*_packages(), *_vendored()],
    }


def main() -> None:
    """Print the bill."""
    print(json.dumps(bill(), indent=2))


if __name__ == "__main__":
    main()
