"""The queue: what is taken first, and how much."""

from __future__ import annotations

from pathlib import Path

from app.domain.messages import HandedMessage, Lane
from app.domain.retry import Timing
from app.store.accounts import accounts
from app.store.database import utcnow
from app.store.messages import acceptance
from app.store.portals import portals
from tests.worlds.claiming import claim_some
from tests.worlds.product import a_portal, product


def test_a_single_message_passes_a_campaign_and_no_more_is_taken_than_can_be_called(tmp_path: Path) -> None:
    with product(tmp_path):
        portal, now, timing = a_portal(), utcnow(), Timing()
        account = accounts.connect(
            portal.id, portal.member_id, "demo", label="demo", public={}, secrets={}, now=now
        )
        handler = portals.by_handler_secret(portals.handler_secret(portal.id))
        assert handler is not None
        for number in range(20):
            lane = Lane.SINGLE if number == 19 else Lane.CAMPAIGN
            incoming = HandedMessage(f"m{number}", "+4915112345678", "Hello", "sms")
            acceptance.accept(handler, incoming, now=now, timing=timing, lane=lane)

        taken = claim_some(account, now=utcnow(), timing=timing, limit=3)

        assert [claim.message.message_id for claim in taken] == ["m19", "m0", "m1"]
        rest = claim_some(account, now=utcnow(), timing=timing, limit=50)
        assert len(rest) == 17
        assert len({claim.lease for claim in [*taken, *rest]}) == 20
