"""Connects a portal to a gateway: one validation and one effect for the form and for the command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from app.domain.portals import Portal
from app.gateways.base import Gateway
from app.gateways.settings import validate_settings
from app.store import accounts, messages
from app.store.accounts import Account
from app.transport import Reach


def connect(
    portal: Portal,
    adapter: type[Gateway],
    given: Mapping[str, str],
    *,
    now: datetime,
    reach: Reach | None = None,
    allow_private: bool = False,
) -> Account:
    """Check and store the settings, make the gateway the portal's, and wake the messages that wait for one.

    `reach` says which addresses may be called; `allow_private` in its place allows all of them, for tests.

    Raises:
        SettingsInvalid: with a sentence for each field; nothing was stored.
    """
    stored = next((a.settings for a in accounts.of_portal(portal.id) if a.slug == adapter.slug), None)
    settings = validate_settings(adapter, given, stored=stored, reach=reach, allow_private=allow_private)
    secret_names = {field.name for field in adapter.fields if field.secret}
    account = accounts.connect(
        portal.id,
        portal.member_id,
        adapter.slug,
        label=adapter.title,
        public={name: value for name, value in settings.items() if name not in secret_names},
        secrets={name: value for name, value in settings.items() if name in secret_names},
        now=now,
    )
    messages.wake_account(None, portal.id, now=now)
    return account
