from __future__ import annotations

from app.domain.portals import PortalSettings


def test_settings_of_another_release_are_read() -> None:
    """While two releases run side by side each meets what the other wrote."""
    found = PortalSettings.from_json({"text_days": 5, "countries": ["DE"], "of_a_newer_release": True})

    assert found == PortalSettings(text_days=5, countries=("DE",))
    assert PortalSettings.from_json(found.to_json()) == found
