"""What an administrator does to the application: install, finish, update, uninstall, pay; and renaming."""

from __future__ import annotations

from typing import Any

from sandbox.portal.events import fire
from sandbox.portal.world import Installation, Portal, World, new_application_token


class NoApplication(Exception):
    """No application was registered with the sandbox, or it is not in this portal."""


def begin_install(
    world: World, portal: Portal, user_id: int, *, new_token: bool = False, installed: bool = False
) -> Installation:
    """Create or reuse the application's row with INSTALLED=N. An existing row is a reinstall."""
    with world.lock:
        if world.app is None:
            raise NoApplication("register an application first: POST /sandbox/app")
        row = portal.installation
        if row is None:
            row = portal.installation = Installation(user_id, new_application_token())
        elif new_token:
            row.application_token = new_application_token()
        row.active = True
        row.installed = installed
        row.installer_id = user_id
        row.version = world.app.version
        row.status = world.app.status
        row.installed_at = world.clock.now()
        row.payment_expired = False
        row.payment_allow = True
        world.ledger.record("lifecycle", portal.number, "install", user=user_id)
        return row


def finish_install(world: World, portal: Portal) -> bool:
    """What `set_installed` does: INSTALLED=Y, then ONAPPINSTALL for whoever bound it. False if it was Y."""
    with world.lock:
        row = portal.live_installation()
        if row is None or row.installed:
            return False
        row.installed = True
        world.ledger.record("lifecycle", portal.number, "finish")
        fire(world, portal, "ONAPPINSTALL", _install_data(portal, row), with_tokens=True)
        return True


def update_app(
    world: World,
    portal: Portal,
    *,
    version: int | None = None,
    keep_senders: bool = False,
    wizard: bool = False,
    all_handlers: bool = False,
    new_token: bool = True,
) -> Installation:
    """Install a new version over the old one.

    Senders and the ONAPPINSTALL handler go, in the same step in which ONAPPUPDATE is queued. With `wizard`
    the row waits for its installer page again (INSTALLED=N), so the event is skipped, as in the kernel.
    """
    with world.lock:
        row = _live(portal)
        previous = row.version
        row.version = previous + 1 if version is None else version
        if new_token:
            row.application_token = new_application_token()
        if wizard:
            row.installed = False
        if not keep_senders:
            portal.senders.clear()
        world.ledger.record("lifecycle", portal.number, "update", version=row.version)
        data = {
            "VERSION": str(row.version),
            "PREVIOUS_VERSION": str(previous),
            "LANGUAGE_ID": portal.lang,
        }
        fire(world, portal, "ONAPPUPDATE", data, with_tokens=True)
        portal.events = [
            event for event in portal.events if not all_handlers and event.event != "ONAPPINSTALL"
        ]
        return row


def uninstall_app(world: World, portal: Portal, *, clean: bool) -> None:
    """Remove the application: event first (if it may be sent), then senders, handlers and tokens die."""
    with world.lock:
        row = _live(portal)
        data = {"LANGUAGE_ID": portal.lang, "CLEAN": "1" if clean else "0"}
        fire(world, portal, "ONAPPUNINSTALL", data)
        row.active = False
        row.installed = False
        row.generation += 1
        if clean:
            row.options.clear()
        row.first_runs.clear()
        portal.senders.clear()
        portal.events.clear()
        portal.author_tokens.clear()
        world.ledger.record("lifecycle", portal.number, "uninstall", clean=clean)


def set_payment(
    world: World,
    portal: Portal,
    *,
    expired: bool,
    allow: bool,
    days: int | None = None,
    force_event: bool = False,
) -> None:
    """Payment lapses (`expired`, perhaps still in grace with `allow`) or returns."""
    with world.lock:
        row = _live(portal)
        row.payment_expired = expired
        row.payment_allow = allow
        row.days = days
        world.ledger.record("lifecycle", portal.number, "payment", expired=expired, allow=allow)
        assert world.app is not None
        data = {
            "CODE": world.app.code,
            "VERSION": str(row.version),
            "STATUS": row.status,
            "PAYMENT_EXPIRED": "Y" if expired else "N",
            "DAYS": str(days or 0),
            "LANGUAGE_ID": portal.lang,
        }
        fire(world, portal, "ONAPPPAYMENT", data, force=force_event)


def rename(world: World, portal: Portal, *, host: str, prefix: str, status: int) -> None:
    """Move the portal to another address; the old one answers REST with a redirect of this status."""
    with world.lock:
        old = (portal.host, portal.prefix)
        new = (host, prefix)
        taken = world.addresses.get(new)
        if taken is not None and taken is not portal:
            raise ValueError(f"{host}{prefix} belongs to portal {taken.number}")
        world.addresses[new] = portal
        world.moved.pop(new, None)
        if old != new:
            world.moved[old] = status
        portal.host, portal.prefix = host, prefix
        world.ledger.record("lifecycle", portal.number, "rename", to=portal.client_endpoint)


def _install_data(portal: Portal, row: Installation) -> dict[str, Any]:
    return {
        "VERSION": str(row.version),
        "ACTIVE": "Y",
        "INSTALLED": "Y",
        "LANGUAGE_ID": portal.lang,
    }


def _live(portal: Portal) -> Installation:
    row = portal.live_installation()
    if row is None:
        raise NoApplication(f"the application is not installed in portal {portal.number}")
    return row
