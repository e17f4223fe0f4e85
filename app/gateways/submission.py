"""The one door through which messages are handed to an adapter: outcomes as values, whatever it does."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from app.domain.outcomes import Outcome, Unknown
from app.gateways.answers import outcome_of
from app.gateways.base import Gateway, NotMade, Outgoing
from app.transport import TransportError

log = logging.getLogger(__name__)


def submit_all(gateway: Gateway, messages: Sequence[Outgoing]) -> list[Outcome]:
    """Hand messages over, at most `bulk_max` of them: one outcome for each, in their order.

    One message goes by `submit`, several by `submit_many`. A failed call, a fault of the adapter and a list
    of another length leave everything unknown that is not surely untaken.

    Raises:
        NotMade: they are not ours to send; only where they go over a line.
    """
    try:
        if len(messages) == 1:
            return [gateway.submit(messages[0])]
        outcomes = gateway.submit_many(messages)
    except NotMade:
        raise
    except Exception as error:
        if not isinstance(error, TransportError):
            log.exception("adapter failed", extra={"gateway": gateway.slug})
        return [outcome_of(error)] * len(messages)
    if len(outcomes) != len(messages):
        log.error("adapter answered for another number of messages", extra={"gateway": gateway.slug})
        return [Unknown("the adapter failed: it lost count")] * len(messages)
    return outcomes
