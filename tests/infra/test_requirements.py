"""The requirement files name every package that is needed, in the version that is installed here."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sandbox.processes import PROJECT


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


# Debian 12 has 3.11.2, and some packages need more on an old Python than on a new one.
_PYTHONS = ("3.11.2", "3.11.9", "3.12.0", "3.13.0", "3.14.0")


def _is_wanted(requirement: Requirement, python: str, extras: set[str]) -> bool:
    versions = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    marker = requirement.marker
    return marker is None or any(marker.evaluate(versions | {"extra": extra}) for extra in extras or {""})


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_is_exact_and_installed(file: str) -> None:
    for name, pin in _pins(file).items():
        if pin.marker is None or pin.marker.evaluate():
            assert str(pin.specifier) == f"=={metadata.version(name)}"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_holds_what_the_pins_say_with_digests_for_each(name: str) -> None:
    """scripts/lock writes it anew."""
    text = (PROJECT / f"{name}.lock").read_text().replace("\\\n", "")
    locked = {}
    for line in filter(lambda line: not line.startswith("#"), text.splitlines()):
        written, *digests = line.split(" --hash=")
        assert digests and all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", digest) for digest in digests)
        requirement = Requirement(written)
        locked[_normal(requirement.name)] = (requirement.specifier, str(requirement.marker))

    pins = {key: (pin.specifier, str(pin.marker)) for key, pin in _pins(f"{name}.txt").items()}
    assert locked == pins


@pytest.mark.parametrize("python", _PYTHONS)
@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_what_a_package_needs_is_pinned_and_suits_it(file: str, python: str) -> None:
    pins = {name: pin for name, pin in _pins(file).items() if _is_wanted(pin, python, set())}
    for name, pin in pins.items():
        if pin.marker is not None and not pin.marker.evaluate():
            continue  # not installed here, so we do not know what it needs
        for needed in map(Requirement, metadata.requires(name) or []):
            if _is_wanted(needed, python, pin.extras):
                assert _normal(needed.name) in pins, f"{name} needs {needed.name}, which is not in {file}"
                version = str(pins[_normal(needed.name)].specifier).removeprefix("==")
                assert needed.specifier.contains(version, prereleases=True)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_product_and_sandbox_run_without_the_test_tools() -> None:
    """`make demo` installs requirements.txt only; measuring and breaking things needs the tests too."""
    pinned = _pins("requirements.txt")
    owners = metadata.packages_distributions()
    ours = {"app", "sandbox", "migrations"}
    folders = [(PROJECT / folder).rglob("*.py") for folder in ("app", "sandbox", "migrations")]
    kit = PROJECT / "app/gateways/kit"  # for those who test an adapter, and have pytest
    for path in [PROJECT / "scripts/demo.py", *chain.from_iterable(folders)]:
        if path.is_relative_to(kit):
            continue
        for module in set(_imports(path)) - ours - sys.stdlib_module_names:
            names = {_normal(owner) for owner in owners.get(module, [module])}
            assert names & pinned.keys(), f"{path} imports {module}, which requirements.txt lacks"


def test_the_bill_of_materials_has_every_pin_and_every_vendored_script() -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "scripts/sbom.py"], capture_output=True, text=True, check=True
    )
    listed = [(each["purl"].partition("/")[0], each) for each in json.loads(done.stdout)["components"]]

    packages = {each["name"]: f"=={each['version']}" for kind, each in listed if kind == "pkg:pypi"}
    assert packages == {name: str(pin.specifier) for name, pin in _pins("requirements.txt").items()}
    scripts = (PROJECT / "app/web/static/ui/vendor").glob("*.js")
    assert len([each for kind, each in listed if kind == "pkg:npm"]) == len(list(scripts)) > 0
