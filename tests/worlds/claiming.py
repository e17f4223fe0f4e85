"""Claims made without a worker: for tests that are the worker."""

from __future__ import annotations

from datetime import datetime

from app.domain.messages import Claim, Message
from app.domain.numbers import Recipient
from app.domain.policy import Send
from app.domain.retry import Timing
from app.domain.texts import measure
from app.store.accounts import accounts
from app.store.messages import claims
from app.store.messages.claims import Ruling, Sending


def claim_some(account: accounts.Account, *, now: datetime, timing: Timing, limit: int = 50) -> list[Claim]:
    """What is due for this account, as a worker with so many free places takes it."""
    sending = Sending(account.portal_id, account.id, account.slug, account.is_default)
    return list(claims.take(sending, _sent_as_it_is, limit=limit, now=now, timing=timing).claims)


def claim_one(account: accounts.Account, row_id: int, *, now: datetime, timing: Timing) -> Claim:
    taken = claim_some(account, now=now, timing=timing)
    return next(claim for claim in taken if claim.message.id == row_id)


def _sent_as_it_is(message: Message) -> Ruling:
    return Ruling(Send(Recipient(message.recipient, "DE")), measure(message.text))
