"""Divides messages among calls, for gateways that take many at once under a condition."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from app.domain.outcomes import Outcome
from app.gateways.answers import outcome_of
from app.gateways.base import Outgoing


def send_in_batches(
    messages: Sequence[Outgoing],
    *,
    alike: Callable[[Outgoing], Hashable],
    send: Callable[[Sequence[Outgoing]], Sequence[Outcome]],
) -> list[Outcome]:
    """One outcome for each message, in their order, from as few calls of `send` as the condition allows.

    The messages of a call are `alike`, and none of them has the number of another: answers and guards
    against doubles know a message by its number. A call that fails speaks for its own messages only.
    """
    outcomes: dict[str, Outcome] = {}
    for batch in _batches(messages, alike):
        try:
            found = send(batch)
        except Exception as error:
            found = [outcome_of(error)] * len(batch)
        outcomes |= {message.reference: outcome for message, outcome in zip(batch, found, strict=True)}
    return [outcomes[message.reference] for message in messages]


def _batches(messages: Sequence[Outgoing], alike: Callable[[Outgoing], Hashable]) -> list[list[Outgoing]]:
    groups: dict[Hashable, list[dict[str, Outgoing]]] = {}
    for message in messages:
        batches = groups.setdefault(alike(message), [])
        free = next((batch for batch in batches if message.recipient not in batch), None)
        if free is None:
            batches.append(free := {})
        free[message.recipient] = message
    return [list(batch.values()) for batches in groups.values() for batch in batches]
