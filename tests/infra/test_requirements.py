"""The requirement files name every package that is needed, in the version that is installed here."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sandbox.stack import PROJECT


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(file: str) -> dict[str, Requirement]:
    pins: dict[str, Requirement] = {}
    for line in (PROJECT / file).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            pins |= _pins(text.removeprefix("-r "))
        elif text:
            requirement = Requirement(text)
            assert _normal(requirement.name) not in pins, f"{requirement.name} stands there twice"
            pins[_normal(requirement.name)] = requirement
    return pins


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_is_exact_and_installed(file: str) -> None:
    for name, pin in _pins(file).items():
        assert str(pin.specifier) == f"=={metadata.version(name)}"


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_what_a_package_needs_is_pinned_and_suits_it(file: str) -> None:
    pins = _pins(file)
    for name, pin in pins.items():
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            extras = pin.extras or {""}
            if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            assert _normal(needed.name) in pins, f"{name} needs {needed.name}, which is not in {file}"
            assert needed.specifier.contains(metadata.version(needed.name), prereleases=True)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_product_and_sandbox_run_without_the_test_tools() -> None:
    """`make demo` installs requirements.txt only."""
    pinned = _pins("requirements.txt")
    owners = metadata.packages_distributions()
    ours = {"app", "sandbox"}
    for folder in ("app", "sandbox", "scripts", "migrations"):
        for path in (PROJECT / folder).rglob("*.py"):
            for module in set(_imports(path)) - ours - sys.stdlib_module_names:
                names = {_normal(owner) for owner in owners.get(module, [module])}
                assert names & pinned.keys(), f"{path} imports {module}, which requirements.txt lacks"
