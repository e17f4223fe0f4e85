"""The store's rules under any interleaving: workers that claim, sleep and answer late; reports; pushes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain.life import Answered, may_send_again
from app.domain.messages import Claim, HandedMessage, Message, Reason, Work
from app.domain.outcomes import Accepted, DeliveryReport, Outcome, RefusalKind, Refused, Unknown
from app.domain.retry import Timing
from app.domain.status import FINAL, MessageStatus
from app.store.accounts import accounts
from app.store.database import db, utcnow
from app.store.messages import acceptance, by_hand, claims, messages, outcomes, reports, telling
from app.store.messages.telling import Push
from app.store.portals import portals
from tests.worlds.claiming import claim_some
from tests.worlds.product import a_portal, product

TIMING = Timing()
pytestmark = pytest.mark.timeout(400)
WORDS = st.sampled_from(
    [MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.UNDELIVERED, MessageStatus.FAILED]
)


@dataclass
class Gateway:
    """What a gateway really has, whoever heard of it."""

    drops_repeats: bool
    taken: dict[str, int] = field(default_factory=dict)  # reference -> messages on phones

    def take(self, reference: str) -> Accepted:
        if not (self.drops_repeats and reference in self.taken):
            self.taken[reference] = self.taken.get(reference, 0) + 1
        copy = 1 if self.drops_repeats else self.taken[reference]
        return Accepted((f"{reference}.{copy}",))


class Rules(RuleBasedStateMachine):
    """Three messages; any number of workers, each of which may sleep between any two steps."""

    @initialize(drops_repeats=st.booleans())
    def begin(self, drops_repeats: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sms-rules-", dir=_memory())
        self._product = product(Path(self._folder.name))
        self._product.__enter__()
        self.now = utcnow()
        portal = a_portal()
        self.account = accounts.connect(
            portal.id, portal.member_id, "demo", label="demo", public={}, secrets={}, now=self.now
        )
        self.gateway = Gateway(drops_repeats)
        seen = portals.by_handler_secret(portals.handler_secret(portal.id))
        assert seen is not None
        self.portal = portal
        self.ids = []
        for number in range(3):
            incoming = HandedMessage(f"m{number}", "+4915112345678", f"text {number}", "sms")
            row_id = acceptance.accept(seen, incoming, now=self.now, timing=TIMING).row_id
            assert row_id is not None
            self.ids.append(row_id)
            assert acceptance.accept(seen, incoming, now=self.now, timing=TIMING).row_id is None
        self.claims: list[tuple[Claim, bool]] = []  # and whether the gateway was called
        self.pushes: list[list[Push]] = []
        self.heard: dict[int, list[MessageStatus]] = {row_id: [] for row_id in self.ids}
        self.best: dict[int, MessageStatus] = {}
        self.before: dict[int, MessageStatus] = {}
        self.resends: set[int] = set()

    def teardown(self) -> None:
        if hasattr(self, "_product"):
            self._product.__exit__(None, None, None)
            self._folder.cleanup()

    # --- what may happen, in any order

    @rule(places=st.integers(1, 3))
    def claim(self, places: int) -> None:
        if any(self.now >= row.expires_at for row in self._rows()):
            return
        taken = claim_some(self.account, now=self.now, timing=TIMING, limit=places)
        self.claims += [(claim, False) for claim in taken]

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=st.sampled_from(["accepted", "busy", "never", "unknown", "dies", "dies taken"]))
    def answer(self, data: st.DataObject, end: str) -> None:
        """A worker, awake or asleep until now, gets its answer. A dead one records nothing."""
        claim, _ = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        now = self.now
        if end in ("accepted", "dies taken", "unknown"):
            accepted = self.gateway.take(claim.reference)
        answer: Outcome | None = None
        if end == "accepted":
            answer = accepted
        elif end == "busy":
            answer = Refused(RefusalKind.TEMPORARY, "busy")
        elif end == "never":
            answer = Refused(RefusalKind.PERMANENT, "bad")
        elif end == "unknown":
            answer = Unknown("reset")
        if answer is not None:
            said = Answered(claim, answer, may_repeat=self.gateway.drops_repeats)
            outcomes.record([said], now=now, timing=TIMING)

    @rule(which=st.integers(0, 2))
    def recover(self, which: int) -> None:
        claim = claims.lost_claim(self.ids[which], now=self.now)
        if claim is not None:
            lost = Answered(claim, Unknown("lease"), may_repeat=self.gateway.drops_repeats, is_fault=True)
            outcomes.record([lost], now=self.now, timing=TIMING)

    @rule(data=st.data(), word=WORDS, by_reference=st.booleans())
    def report(self, data: st.DataObject, word: MessageStatus, by_reference: bool) -> None:
        if not self.gateway.taken:
            return
        reference = data.draw(st.sampled_from(sorted(self.gateway.taken)))
        copy = data.draw(st.integers(1, self.gateway.taken[reference]))
        report = DeliveryReport(
            word,
            word.value,
            reference=reference if by_reference else "",
            gateway_message_id=f"{reference}.{copy}",
        )
        reports.apply_reports(self.account.id, [report], now=self.now, timing=TIMING)

    @rule()
    def begin_push(self) -> None:
        due = telling.due_pushes(self.portal.id, now=self.now, limit=50)
        if due:
            self.pushes.append(due)

    @precondition(lambda self: self.pushes)
    @rule(data=st.data(), dies=st.booleans())
    def end_push(self, data: st.DataObject, dies: bool) -> None:
        """The portal hears the words now, in whatever order the workers get to it."""
        due = self.pushes.pop(data.draw(st.integers(0, len(self.pushes) - 1)))
        telling.record_nothing_to_tell([push for push in due if push.word is None], now=self.now)
        due = [push for push in due if push.word is not None]
        for push in due:
            assert push.word is not None and push.word is not MessageStatus.UNKNOWN
            self.heard[push.row_id].append(push.word)
        if not dies:
            telling.record_told(due, now=self.now, timing=TIMING)

    @rule(which=st.integers(0, 2))
    def resend(self, which: int) -> None:
        row_id = self.ids[which]
        row = self._row(row_id)
        if may_send_again(row).answer != "yes":
            return  # the command refuses that without --force
        if by_hand.resend(row, now=self.now, timing=TIMING):
            self.resends.add(row_id)
            self.before.pop(row_id, None)

    @rule(which=st.integers(0, 2))
    def give_up(self, which: int) -> None:
        row = self._row(self.ids[which])
        if row.work is Work.WAITING and row.deadline_at is not None and row.deadline_at <= self.now:
            if row.status is MessageStatus.UNKNOWN:
                messages.finish(row, MessageStatus.FAILED, Reason.UNKNOWN, "", now=self.now, timing=TIMING)
            else:
                messages.close_without_report(row.id, now=self.now)

    @rule(seconds=st.sampled_from([1, 10, 31, 90, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what must stay true

    @invariant()
    def a_status_never_goes_down(self) -> None:
        for row in self._rows():
            known = self.before.get(row.id)
            if known is not None and row.status.rank < known.rank:
                # Only from "unknown", and only when the gateway's own late word proved that it has nothing.
                assert (known, row.status) == (MessageStatus.UNKNOWN, MessageStatus.QUEUED), row
            self.before[row.id] = row.status

    @invariant()
    def nothing_is_stuck(self) -> None:
        for row in self._rows():
            assert (row.work is Work.CLOSED) == (row.due_at is None), row
            if row.status in FINAL and row.work is Work.CLOSED and row.told is not row.status:
                assert row.push_due_at is not None, row

    @invariant()
    def a_claim_is_one_submission_at_most(self) -> None:
        if not hasattr(self, "gateway") or self.gateway.drops_repeats:
            return
        assert all(count == 1 for count in self.gateway.taken.values()), self.gateway.taken

    @invariant()
    def a_second_reference_needs_a_reason(self) -> None:
        """Without a person's word, one message is one message on a phone."""
        if not hasattr(self, "ids"):
            return
        for row in self._rows():
            if row.id in self.resends:
                continue
            taken = [ref for ref in self._references(row.id) if ref in self.gateway.taken]
            assert len(taken) <= 1, (row, taken)

    @invariant()
    def what_the_portal_shows_is_true_or_due_to_be_told(self) -> None:
        for row in self._rows():
            heard = self.heard[row.id]
            if heard and row.status in FINAL and heard[-1] is not row.status:
                under_way = any(push.row_id == row.id for due in self.pushes for push in due)
                assert row.push_due_at is not None or under_way, (row, heard)

    def _rows(self) -> list[Message]:
        return [self._row(row_id) for row_id in getattr(self, "ids", [])]

    def _row(self, row_id: int) -> Message:
        found = messages.by_row(self.portal.id, row_id)
        assert found is not None
        return found

    def _references(self, row_id: int) -> list[str]:
        with db.engine.connect() as connection:
            return [
                row[0]
                for row in connection.execute(
                    sa.text("SELECT reference FROM attempts WHERE message_row_id = :row"), {"row": row_id}
                )
            ]


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


TestRules = Rules.TestCase
TestRules.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
