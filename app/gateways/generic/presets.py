"""Presets: gateways that are a data file, and ask for what the vendor's console shows and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from app.gateways import explanations
from app.gateways.base import Field, Gateway
from app.gateways.generic.gateway import MESSAGE_VALUES, GenericGateway, capabilities_of
from app.gateways.generic.plan import KINDS, NAMES, STATUSES, Plan
from app.gateways.generic.templates import placeholders, unknown_filters

FOLDER = Path(__file__).resolve().parent.parent / "presets"
HEADINGS = ("what", "Get an account", "Delivery reports", "Limits and quirks", "How it was tried")
_KEYS = frozenset(
    {
        *("slug", "title", "regions", "needs", "docs_url", "sign_up_url", "key_url"),
        *("fields", "plan", "explanations", "about"),
    }
)


class PresetInvalid(Exception):
    """A data file that cannot be a gateway; the text says where and why."""


class PresetGateway(GenericGateway):
    """A gateway whose plan stands in a data file; its settings fill the plan's placeholders."""

    kind = "preset"
    preset_plan: ClassVar[Plan]
    about: ClassVar[Mapping[str, str]]  # the page for people, by heading

    @cached_property
    def plan(self) -> Plan:
        return self.preset_plan


@cache
def load_presets() -> tuple[type[Gateway], ...]:
    """A class for each data file of this build, made once.

    Raises:
        PresetInvalid: naming the file; the application must not start.
    """
    return tuple(load_preset(file) for file in sorted(FOLDER.glob("*.json")))


def load_preset(file: Path) -> type[Gateway]:
    """The gateway that a file describes; raises PresetInvalid with the file's name."""
    try:
        return preset_of(json.loads(file.read_text(encoding="utf-8")))
    except (PresetInvalid, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PresetInvalid(f"{file.name}: {type(error).__name__}: {error}") from None


def preset_of(data: Mapping[str, Any]) -> type[PresetGateway]:
    """The gateway that a data file describes."""
    if unknown := data.keys() - _KEYS:
        raise PresetInvalid(f"there is no key {min(unknown)!r}")
    fields = tuple(_field(one) for one in data["fields"])
    plan = dict(data["plan"])
    _check_plan(plan, {field.name for field in fields})
    if missing := set(HEADINGS) - data["about"].keys():
        raise PresetInvalid(f"the page lacks {min(missing)!r}")
    return type(
        data["slug"].title(),
        (PresetGateway,),
        {
            "__module__": __name__,
            "__doc__": data["about"]["what"],
            "slug": data["slug"],
            "title": data["title"],
            "regions": tuple(data.get("regions", ())),
            "needs": data["needs"],
            "docs_url": data["docs_url"],
            "sign_up_url": data.get("sign_up_url", ""),
            "key_url": data.get("key_url", ""),
            "fields": fields,
            "capabilities": capabilities_of(Plan(plan)),
            "explanations": {code: _explained(text) for code, text in data.get("explanations", {}).items()},
            "preset_plan": Plan(plan),
            "about": data["about"],
        },
    )


def _field(data: Mapping[str, Any]) -> Field:
    choices = tuple((value, label) for value, label in data.get("choices", ()))
    return Field(**{**data, "choices": choices})


def _explained(text: str) -> str:
    """A sentence, or the name of one that several vendors share, which is translated already."""
    if not re.fullmatch(r"[A-Z_]+", text):
        return text
    shared: str | None = vars(explanations).get(text)
    if shared is None:
        raise PresetInvalid(f"there is no explanation {text!r}")
    return shared


def _check_plan(plan: Mapping[str, Any], own: set[str]) -> None:
    if unknown := plan.keys() - NAMES:
        raise PresetInvalid(f"a plan has no {min(unknown)!r}")
    if taken := own & MESSAGE_VALUES:
        raise PresetInvalid(f"the setting {min(taken)!r} is called like a value of a message")
    texts = [value for name, value in plan.items() if name != "report_signed"]
    if unknown := placeholders(*texts) - own - MESSAGE_VALUES:
        raise PresetInvalid(f"there is no placeholder {{{min(unknown)}}}")
    if odd := unknown_filters(*texts):
        raise PresetInvalid(f"there is no filter {min(odd)!r}")
    for name, known in (("error_map", KINDS), ("http_map", KINDS), ("status_map", STATUSES)):
        if wrong := [word for word, ours in plan.get(name, {}).items() if ours not in known]:
            raise PresetInvalid(f"{name} says of {wrong[0]!r} what we do not know")
