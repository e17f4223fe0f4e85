"""The overview: what is left to set up, then how everything stands."""

from __future__ import annotations

from typing import Any

from app.web.ui_session import Session
from app.web.ui_texts import Trouble


def facts(session: Session, trouble: Trouble | None = None) -> dict[str, Any]:
    """What the page shows; `trouble` is why the portal could not be brought in step just now."""
    return {"session": session, "trouble": trouble}
