"""Finds the gateways at start: `adapters/`, `presets/`, and what the operator allows of other packages."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import app.gateways.adapters
from app.gateways.base import INTERFACE_VERSION, Field, Gateway, Registry
from app.gateways.generic.presets import PresetInvalid, load_preset, load_presets

log = logging.getLogger(__name__)

ENTRY_POINTS = "b24sms.gateways"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class AdapterInvalid(Exception):
    """An adapter that must not be started with: a name taken twice, or a declaration that cannot work."""


def load_registry(
    allowed: Collection[str] = (), *, presets: Path | None = None, with_trial: bool = True
) -> Registry:
    """All gateways of this build, those that the operator describes in the folder `presets`, and of other
    installed packages those whose slugs are `allowed`.

    Without the trial only gateways that send something are there.

    A package that is merely installed brings no code near the secrets: it has to be named. What cannot be
    loaded of the two is left out and logged; the others work on, and its accounts wait.

    Raises:
        AdapterInvalid: a gateway of this build contradicts itself; the application must not start.
    """
    own = build_registry(_own_gateways())
    described = _described(presets, own) if presets is not None else []
    own = build_registry((*own.adapters.values(), *described))
    guests = [found for name in sorted(allowed) if (found := _guest(name, own)) is not None]
    everything = (*own.adapters.values(), *guests)
    return build_registry(gateway for gateway in everything if with_trial or gateway.capabilities.sends)


def _own_gateways() -> Iterator[type[Gateway]]:
    names = sorted(module.name for module in pkgutil.iter_modules(app.gateways.adapters.__path__))
    modules = [importlib.import_module(f"{app.gateways.adapters.__name__}.{name}") for name in names]
    yield from (gateway for module in modules for gateway in _gateways_in(module))
    yield from load_presets()


def _described(folder: Path, own: Registry) -> list[type[Gateway]]:
    """The operator's presets that can be used, a file for each; of two with one slug the first."""
    found: dict[str, type[Gateway]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            preset = load_preset(file)
            check_declaration(preset)
            if preset.slug in found or own.get(preset.slug) is not None:
                raise AdapterInvalid(f"there is a gateway called {preset.slug!r} already")
        except (OSError, PresetInvalid, AdapterInvalid) as error:
            log.error("preset is not loaded", extra={"file": file.name, "why": str(error)})
            continue
        found[preset.slug] = preset
    return list(found.values())


def _guest(slug: str, own: Registry) -> type[Gateway] | None:
    """An allowed adapter of another package; None, with the reason in the log, when it cannot be used."""
    entry = next(iter(entry_points(group=ENTRY_POINTS, name=slug)), None)
    if entry is None or own.get(slug) is not None:
        why = "this build has one of that name" if entry else "no installed package has it"
        log.error("allowed gateway is not loaded", extra={"gateway": slug, "why": why})
        return None
    try:
        return _checked_guest(entry)
    except Exception as error:
        log.exception("allowed gateway is not loaded", extra={"gateway": slug, "why": str(error)})
        return None


def _checked_guest(entry: EntryPoint) -> type[Gateway]:
    gateway = entry.load()
    if not (isinstance(gateway, type) and issubclass(gateway, Gateway)):
        raise AdapterInvalid(f"{entry.value} is not a subclass of Gateway")
    if gateway.slug != entry.name:
        raise AdapterInvalid(f"{entry.value} has the slug {gateway.slug!r}, not {entry.name!r}")
    if vars(gateway).get("interface_version") != INTERFACE_VERSION:
        raise AdapterInvalid(f"{entry.value} was not written for interface version {INTERFACE_VERSION}")
    check_declaration(gateway)
    return gateway


def place_in_list(gateway: type[Gateway]) -> tuple[bool, bool, str]:
    """For sorting: by name; what any vendor can be connected with after the vendors, the trial last."""
    return not gateway.capabilities.sends, gateway.slug == "http", gateway.title.casefold()


def build_registry(gateways: Iterable[type[Gateway]]) -> Registry:
    """The registry of the given adapters; refuses a slug that is taken twice."""
    adapters: dict[str, type[Gateway]] = {}
    for gateway in gateways:
        check_declaration(gateway)
        if gateway.slug in adapters:
            taken_by = adapters[gateway.slug].__name__
            raise AdapterInvalid(f"two gateways are called {gateway.slug!r}: {taken_by}, {gateway.__name__}")
        adapters[gateway.slug] = gateway
    return Registry(dict(sorted(adapters.items())))


def check_declaration(gateway: type[Gateway]) -> None:
    """Refuse an adapter whose class data contradicts itself."""
    if not _NAME.fullmatch(getattr(gateway, "slug", "")) or not getattr(gateway, "title", ""):
        raise AdapterInvalid(f"{gateway.__name__} needs a title and a slug of small letters and digits")
    names = [field.name for field in gateway.fields]
    if len(names) != len(set(names)):
        raise AdapterInvalid(f"{gateway.slug}: two settings have the same name")
    for field in gateway.fields:
        if problem := _field_problem(field):
            raise AdapterInvalid(f"{gateway.slug}: the setting {field.name!r} {problem}")


def _field_problem(field: Field) -> str:
    if not _NAME.fullmatch(field.name):
        return "has a name that is not small letters, digits and _"
    if (field.kind == "choice") != bool(field.choices):
        return "has choices without being one, or the other way round"
    if field.choices and field.default not in {"", *(value for value, _ in field.choices)}:
        return "has a default that is not among its choices"
    if field.secret and field.default:
        return "is secret and has a default"
    try:
        re.compile(field.pattern)
    except re.error:
        return "has a pattern that is not a regular expression"
    return ""


def _gateways_in(module: ModuleType) -> Iterator[type[Gateway]]:
    for value in vars(module).values():
        is_own = isinstance(value, type) and value.__module__ == module.__name__
        if is_own and issubclass(value, Gateway) and "slug" in vars(value):
            yield value
