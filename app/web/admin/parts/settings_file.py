"""Settings as a file: to keep them, or to take them to another portal. There is no secret among them.

People of one portal are nobody in another, so who gets notices stays where it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from app.domain.portals import PortalSettings
from app.web.admin.parts.settings_form import Form
from app.web.admin.words.language import gettext as _

FORMAT = 1
LIMIT_BYTES = 64 * 1024
_OF_THIS_PORTAL = ("notice_users", "time_zone")
_LONGEST_SHOWN = 40


class NotUsable(Exception):
    """The file is none of ours, or something in it cannot be a setting; the words are for its reader."""


@dataclass(frozen=True)
class Imported:
    """The form as the file would fill it in, and what of the file this version does not know."""

    form: Form
    unknown: tuple[str, ...]


def written(settings: PortalSettings) -> str:
    values = {name: value for name, value in settings.to_json().items() if name not in _OF_THIS_PORTAL}
    return json.dumps({"format": FORMAT, "settings": values}, indent=2, sort_keys=True) + "\n"


def read(text: str, present: PortalSettings) -> Imported:
    """What a file would change; a setting that it does not name stays as it is.

    Raises:
        NotUsable: see there. Whether the values can work is not judged here, but where every form is.
    """
    values = _values_of(text)
    usual = PortalSettings().to_json()
    known = {each.name for each in fields(PortalSettings)} - set(_OF_THIS_PORTAL)
    for name in values.keys() & known:
        if not _is_like(values[name], usual[name]):
            raise NotUsable(_("The value of “%(name)s” in the file is not of the right kind.", name=name))
    given = {name: value for name, value in values.items() if name in known}
    merged = Form.of(PortalSettings.from_json({**present.to_json(), **given}))
    if merged["notices"] == "some" and present.notices != "some":
        merged = Form({**merged.texts, "notices": present.notices}, merged.lists)
    unknown = sorted(name[:_LONGEST_SHOWN] for name in values.keys() - known - set(_OF_THIS_PORTAL))
    return Imported(merged, tuple(unknown))


def _values_of(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()  # half a character can be neither shown nor stored
    except ValueError as error:
        place = f" ({error.lineno}:{error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise NotUsable(_("The file is not JSON%(place)s.", place=place)) from error
    except RecursionError as error:
        raise NotUsable(_("The file is not JSON%(place)s.", place="")) from error
    values = found.get("settings") if isinstance(found, dict) else None
    if not isinstance(values, dict):
        raise NotUsable(_("There are no settings of this app in the file."))
    if found.get("format") != FORMAT:
        raise NotUsable(_("The file was written by a version of this app that this one cannot read."))
    return values


def _is_like(value: Any, usual: Any) -> bool:
    """Of the same type; in Python `True` is a number, too."""
    if isinstance(usual, list):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return type(value) is type(usual)
