"""What administrators are told is told in their language."""

from __future__ import annotations

import pytest

from app.domain.incidents import GatewayCause, IncidentKind
from app.words.notices import notice_text
from app.words.sender_names import descriptions

NOTICES = [
    *((IncidentKind.GATEWAY, cause, False) for cause in GatewayCause),
    (IncidentKind.BALANCE, "", False),
    (IncidentKind.RUSH, "rush", False),
    (IncidentKind.PORTAL, "new", False),
    *((kind, GatewayCause.SILENT, True) for kind in IncidentKind),
]


def _told(language: str) -> set[str]:
    return {
        notice_text(kind, cause, is_over=is_over, language=language, app_name="Acme SMS")
        for kind, cause, is_over in NOTICES
    }


@pytest.mark.parametrize("language", ["ru", "de", "la", "br", "fr", "it", "pl", "tr", "ua", "ar"])
def test_every_notice_is_told_in_the_language(language: str) -> None:
    told = _told(language)

    assert len(told) == len(NOTICES)  # no two events read alike
    assert told & _told("en") == set()
    assert all(text.startswith("Acme SMS: ") and len(text) > 40 for text in told)


def test_a_language_without_notices_is_told_in_english() -> None:
    assert _told("th") == _told("en") == _told("no such code")


def test_the_sender_describes_itself_in_english_first_and_once_in_each_language() -> None:
    assert next(iter(descriptions())) == "en"
    assert len(set(descriptions().values())) == len(descriptions()) == 11
