"""`docs/portal.md` names every code and method, so that an operator finds the word that he reads in a log."""

from __future__ import annotations

from pathlib import Path

from app.bitrix.errors import OAUTH_CODES, PORTAL_CODES
from app.domain.portals import PortalState
from app.registration import EVENTS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "portal.md").read_text()


def test_every_error_code_is_described() -> None:
    assert [code for code in (*PORTAL_CODES, *OAUTH_CODES) if f"`{code}`" not in TEXT] == []


def test_every_event_and_state_is_described() -> None:
    assert [name for name in (*EVENTS, *PortalState) if f"`{name}`" not in TEXT] == []
