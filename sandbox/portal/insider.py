"""An employee with browser tools: what their frame told them is enough to post any event."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

from sandbox.portal.frame import Frames
from sandbox.portal.wire import encode_form
from sandbox.portal.world import Portal, User, World

_TIMEOUT_S = 30.0


def post_event(
    world: World,
    frames: Frames,
    portal: Portal,
    user: User,
    event: str,
    data: dict[str, Any],
    *,
    with_tokens: bool,
    times: int,
) -> list[int]:
    """Post an event as this user can: with the application_token out of the frame that they open, and, where
    wanted, with their own tokens. Past the portal's queue, to the application's address; the statuses.

    Raises:
        FrameBlocked: they cannot open the application.
    """
    opening = frames.open(portal, user)
    fields = opening.fields
    auth = {
        "member_id": fields["member_id"],
        "domain": portal.host,
        "server_endpoint": world.server_endpoint,
        "client_endpoint": portal.client_endpoint,
        "application_token": fields.get("APPLICATION_TOKEN", ""),
    }
    if with_tokens:
        auth |= {
            "access_token": fields["AUTH_ID"],
            "refresh_token": fields["REFRESH_ID"],
            "expires_in": fields["AUTH_EXPIRES"],
            "user_id": str(user.id),
        }
    body = encode_form({"event": event, "data": data, "ts": str(int(world.clock.now())), "auth": auth})
    there = urlsplit(opening.url)
    bound = [row.handler for row in portal.events if row.event == event]
    url = bound[0] if bound else f"{there.scheme}://{there.netloc}/events"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    statuses = [_posted(url, body, headers) for _ in range(times)]
    world.ledger.record("forged_event", portal.number, event, user=user.id, statuses=statuses)
    return statuses


def _posted(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status; 0 when nobody answered."""
    try:
        return requests.post(url, data=body, headers=headers, timeout=_TIMEOUT_S).status_code
    except requests.RequestException:
        return 0
