"""Application life-cycle events: who gets them, and what is in them."""

from __future__ import annotations

from typing import Any

from sandbox.portal.calls import granted_scope
from sandbox.portal.event_queue import Item
from sandbox.portal.tokens import TokenPair
from sandbox.portal.wire import encode_form
from sandbox.portal.world import EventRow, Portal, World

KNOWN_EVENTS = (
    "ONAPPINSTALL",
    "ONAPPUPDATE",
    "ONAPPUNINSTALL",
    "ONAPPPAYMENT",
    "ONAPPMETHODCONFIRM",
    "ONAPPTEST",
)


def endpoints(world: World, portal: Portal) -> dict[str, str]:
    return {
        "domain": portal.host,
        "server_endpoint": world.server_endpoint,
        "client_endpoint": portal.client_endpoint,
        "member_id": portal.member_id,
    }


def token_fields(world: World, portal: Portal, pair: TokenPair) -> dict[str, str]:
    """The `auth` block of a call that carries a user's token; all values are strings on the wire."""
    assert world.app is not None
    assert portal.installation is not None
    fields = {"access_token": pair.access.value}
    if pair.refresh is not None:
        fields["refresh_token"] = pair.refresh.value
    fields |= {
        "expires": str(int(pair.access.expires_at)),
        "expires_in": str(world.auth.access_lifetime_s),
        "scope": ",".join(granted_scope(world, portal)),
        **endpoints(world, portal),
        "status": portal.installation.status,
        "user_id": str(pair.access.user_id),
        "application_token": portal.installation.application_token,
    }
    return fields


def skip_reason(portal: Portal) -> str:
    """Why the kernel would not send an event now, or an empty text."""
    installation = portal.live_installation()
    if installation is None:
        return "not installed"
    if not installation.installed:
        return "INSTALLED=N"
    if installation.payment_expired:
        return "payment expired"
    return ""


def fire(
    world: World,
    portal: Portal,
    event: str,
    data: dict[str, Any],
    *,
    with_tokens: bool = False,
    force: bool = False,
) -> int:
    """Queue an event for everybody who bound it; the number of posts queued. Call it under `World.lock`.

    `force` sends what the kernel would hold back, for tests of the receiver.
    """
    rows = [row for row in portal.events if row.event == event]
    reason = "" if force else skip_reason(portal)
    if reason or not rows:
        world.ledger.record("event_skipped", portal.number, event, reason=reason or "not bound")
        return 0
    for row in rows:
        world.queue.post(_item(world, portal, row, data, with_tokens))
    return len(rows)


def _item(world: World, portal: Portal, row: EventRow, data: dict[str, Any], with_tokens: bool) -> Item:
    installation = portal.installation
    assert installation is not None
    auth: dict[str, str]
    if with_tokens:
        user_id = row.user_id or installation.installer_id
        auth = token_fields(world, portal, world.tokens.mint(portal, user_id))
    else:
        auth = {**endpoints(world, portal), "application_token": installation.application_token}
    payload: dict[str, Any] = {"event": row.event, "data": data, "ts": str(int(world.clock.now()))}
    if not portal.is_old:
        payload["event_handler_id"] = str(row.id)
    payload["auth"] = auth
    note: dict[str, object] = {"event": row.event, "url": row.handler}
    return Item(portal, "event", row.handler, encode_form(payload), note)
