"""Connects a portal to a gateway: one validation and one effect for the form and for the command."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.portals import Portal
from app.gateways.answers import QuestionRefused
from app.gateways.base import Gateway
from app.gateways.settings import validate_settings
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.messages import messages
from app.transport import Reach, TransportError

log = logging.getLogger(__name__)


class AccountChanged(Exception):
    """Somebody changed or removed the account while these settings were being written."""


@dataclass(frozen=True, repr=False)
class Draft:
    """Settings that are valid and not stored yet. `base` is the account that they are to change."""

    portal: Portal
    adapter: type[Gateway]
    settings: Mapping[str, str]
    base: Account | None


def account_of(portal: Portal, adapter: type[Gateway]) -> Account | None:
    """The portal's account of this gateway, the default before others."""
    return next((a for a in accounts.of_portal(portal.id) if a.slug == adapter.slug), None)


def draft(
    portal: Portal,
    adapter: type[Gateway],
    given: Mapping[str, str],
    *,
    base: Account | None,
    reach: Reach | None = None,
    allow_private: bool = False,
) -> Draft:
    """Check settings. Secrets that are not given stay as `base` has them.

    Raises:
        SettingsInvalid: with a sentence for each field.
    """
    stored = base.settings if base else None
    settings = validate_settings(adapter, given, stored=stored, reach=reach, allow_private=allow_private)
    return Draft(portal, adapter, settings, base)


def save(written: Draft, *, now: datetime) -> Account:
    """Store a draft, make it the portal's default, and wake the messages that wait for one.

    Raises:
        AccountChanged: nothing was stored.
    """
    portal, adapter, settings = written.portal, written.adapter, written.settings
    secret = {field.name for field in adapter.fields if field.secret}
    account = accounts.connect(
        portal.id,
        portal.member_id,
        adapter.slug,
        label=adapter.title,
        public={name: value for name, value in settings.items() if name not in secret},
        secrets={name: value for name, value in settings.items() if name in secret},
        base=written.base,
        is_same=written.base is not None and is_same_account(adapter, written.base.settings, settings),
        now=now,
    )
    if account is None:
        raise AccountChanged
    messages.wake_account(None, portal.id, now=now)
    return account


def is_same_account(adapter: type[Gateway], before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether changed settings still speak of the same account at the gateway.

    If not, its unknown messages must never be asked for at the new one, nor its reports be read by it.
    """
    names = [(field.name, field.default) for field in adapter.fields if field.names_account or field.is_place]
    return all(before.get(name, default) == after.get(name, default) for name, default in names)


def keep_webhooks(gateway: Gateway, report_url: str) -> str:
    """See that the gateway reports to us; what is in the way, for people, empty when nothing is.

    Reports can also be asked for, or come to an address that a person pastes; so this is never a failure.
    """
    try:
        gateway.on_enable(report_url)
    except (TransportError, QuestionRefused, KeyError, ValueError) as error:
        log.warning("webhook not made", extra={"gateway": gateway.slug, "why": type(error).__name__})
        return str(error)
    return ""


def move_webhooks(gateway: Gateway, old_url: str, new_url: str) -> str:
    """See that the gateway reports to the new address, and only then no longer to the old one.

    Returns what is in the way of the new one, for people; empty when nothing is, or nothing is to be told.
    """
    if not gateway.active_capabilities.webhooks:
        return ""
    problem = keep_webhooks(gateway, new_url)
    if not problem:
        try:
            gateway.on_disable(old_url)
        except (TransportError, QuestionRefused, KeyError, ValueError) as error:
            why = type(error).__name__
            log.warning("old webhook not taken back", extra={"gateway": gateway.slug, "why": why})
    return problem


def connect(
    portal: Portal,
    adapter: type[Gateway],
    given: Mapping[str, str],
    *,
    now: datetime,
    reach: Reach | None = None,
    allow_private: bool = False,
) -> Account:
    """Draft and save in one: for the command.

    `reach` says which addresses may be called; `allow_private` in its place allows all of them, for tests.

    Raises:
        SettingsInvalid: with a sentence for each field; nothing was stored.
        AccountChanged: somebody else was quicker; nothing was stored.
    """
    base = account_of(portal, adapter)
    written = draft(portal, adapter, given, base=base, reach=reach, allow_private=allow_private)
    return save(written, now=now)
