"""Finds the adapters: every module of this folder is imported at start, and its gateways are kept."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from types import ModuleType

import app.gateways
from app.gateways.base import Field, Gateway, Registry

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class AdapterInvalid(Exception):
    """An adapter that must not be started with: a name taken twice, or a declaration that cannot work."""


def load_registry() -> Registry:
    """All adapters of the folder, sorted by slug.

    Raises:
        AdapterInvalid: the application must not start.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(app.gateways.__path__))
    modules = [importlib.import_module(f"{app.gateways.__name__}.{name}") for name in names]
    return build_registry(gateway for module in modules for gateway in _gateways_in(module))


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
