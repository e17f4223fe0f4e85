"""How every link between Bitrix24 and the phone stands, for one portal: facts, without words for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.bitrix.errors import is_known_code
from app.domain.portals import Portal
from app.registration import EVENTS
from app.services import services
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.database import trouble
from app.store.figures import operations, overview
from app.store.job_runs import last_runs
from app.store.messages import messages
from app.store.portals import rest_log, senders, tokens
from app.store.portals.rest_log import LoggedCall
from app.store.portals.senders import Sender

ERRORS_SHOWN = 10


@dataclass(frozen=True)
class Diagnosis:
    """All of it is read from the rows and the job engine; nobody outside is asked."""

    at: datetime
    portal: Portal
    schema: str
    engine_answers: bool
    swept_at: datetime | None
    worker_is_alive: bool
    token_refreshed_at: datetime | None
    token_problem: str  # the portal's code; empty while the access works
    administrators: int  # whose tokens work
    senders: tuple[Sender, ...]
    bound_events: int
    refused_events: tuple[str, ...]
    last_received_at: datetime | None
    account: Account | None
    gateway_reports: bool  # whether this gateway calls us to tell what became of messages
    backlog: dict[str, int]
    errors: tuple[LoggedCall, ...]

    @property
    def registered(self) -> int:
        return sum(sender.registered_at is not None for sender in self.senders)

    @property
    def all_events(self) -> int:
        return len(EVENTS)

    @property
    def waiting(self) -> int:
        """Messages that have not come to their end."""
        return sum(count for stage, count in self.backlog.items() if stage != "to_tell")

    @property
    def to_tell(self) -> int:
        return self.backlog.get("to_tell", 0)

    @property
    def unknown_codes(self) -> list[str]:
        return sorted({call.error for call in self.errors if not is_known_code(call.error)})


def diagnose(portal: Portal) -> Diagnosis:
    now = services().now()
    credential = tokens.service(portal.id)
    account = accounts.default_of(portal.id)
    gateway = services().gateway(account) if account else None
    registration = portal.registration
    return Diagnosis(
        at=now,
        portal=portal,
        schema=trouble.head_revision() or "",
        engine_answers=services().engine.pending() is not None,
        swept_at=last_runs().get("sweep"),
        worker_is_alive=operations.sweeper_is_alive(now, within=services().timing.worker_patience),
        token_refreshed_at=credential.refreshed_at if credential else None,
        token_problem=credential.broken if credential else "NO_TOKENS",
        administrators=len(tokens.administrators(portal.id)),
        senders=tuple(sender for sender in senders.of_portal(portal.id) if not sender.is_removed),
        bound_events=len(registration.get("events", ())),
        refused_events=tuple(sorted(registration.get("refused_events", ()))),
        last_received_at=overview.last_received_at(portal.id),
        account=account,
        gateway_reports=gateway is not None and gateway.active_capabilities.reports in ("callback", "both"),
        backlog=messages.backlog(portal.id),
        errors=tuple(rest_log.latest(portal.id, limit=ERRORS_SHOWN, only_errors=True)),
    )
