"""Stop 2 of a message's walk: hand a portal's messages to its gateway, each at most once per reference.

An account is drained by one worker at a time. It takes as many messages as it may call at once, calls on
threads of their own, and records together what has ended.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from app.domain import policy
from app.domain.life import Answered
from app.domain.messages import Claim, Message
from app.domain.outcomes import Accepted, Exchange, Outcome, RefusalKind, Refused, Unknown
from app.domain.pace import Pace
from app.domain.policy import Standing
from app.domain.portals import Portal
from app.domain.retry import BAD_CALLS_TO_PAUSE, LONGEST_PAUSE_S, REFUSALS_TO_STOP
from app.domain.status import MessageStatus
from app.domain.texts import measure
from app.gateways.base import Context, Gateway, NotMade, Outgoing
from app.gateways.journal import KEPT_CHARACTERS, Call, Redaction, called
from app.gateways.submission import submit_all
from app.jobs.drain import drain
from app.jobs.hints import hint_push
from app.jobs.messages.faults import note_fault
from app.jobs.messages.unknown import answering
from app.services import HandOver, Services
from app.store.accounts import accounts, pace, stops
from app.store.accounts.accounts import Account
from app.store.database import StoreUnavailable
from app.store.messages import claims, messages, outcomes
from app.store.messages.claims import Ruling, Sending, Taken
from app.store.portals import portals, senders
from app.transport import HttpAnswer, HttpClient

log = logging.getLogger(__name__)

Result = TypeVar("Result")

WINDOW = 16  # calls that one account has open; a kill leaves no more outcomes unknown

FIRST_PACE_PER_S = 10.0  # when a gateway finds us too fast before it took anything

STORE_TRIES_S = 600.0  # how long an outcome is kept in memory for a database that is down

KNOWN_S = 0.25  # how long settings and standing are taken for what they were

LOOK_EVERY_S = 0.1  # for rows that another process hinted at, while calls are open

TICK_S = 0.02

GATHER_S = 0.004  # what ends in so short a time is recorded together, and

GATHER_BUSY_S = 0.02  # while many calls are open, when it saves the most and nobody waits for one place

BUSY = 8


def submit_messages(services: Services, portal_id: int) -> None:
    """Submit what is due of a portal: by its account, and repeats by the accounts that were called first."""
    account = accounts.default_of(portal_id)
    if account is None or services.gateway(account) is None:
        _hold_all(services, portal_id)
    elif _is_ours(services, account):
        drain(Submissions(services, account))
    for account_id in claims.accounts_that_repeat(portal_id, services.now()):
        other = accounts.by_id(account_id)
        is_another = other is not None and (account is None or other.id != account.id)
        if other is not None and is_another and _is_ours(services, other):
            drain(Submissions(services, other))


def submit_over_line(services: Services, account_id: int) -> None:
    """The same for one account whose line this process keeps."""
    account = accounts.by_id(account_id)
    if account is not None:
        drain(Submissions(services, account))


def _is_ours(services: Services, account: Account) -> bool:
    """Accounts that need a line are drained where it is kept: see `jobs.lines`."""
    adapter = services.gateways.get(account.slug)
    return adapter is not None and not adapter.capabilities.needs_line


def _hold_all(services: Services, portal_id: int) -> None:
    """Nobody sends for this portal. Then look again: whoever connected a gateway in this very moment woke
    only what was held by then."""
    portal = portals.by_id(portal_id)
    held = True
    while held:
        taken = claims.hold_all(
            portal_id, _rule_of(services, portal, None), now=services.now(), timing=services.timing
        )
        _count_exceptions(services, taken)
        held = taken.looked_at > len(taken.poison)
        if taken.ended:
            hint_push(services, portal_id)
    account = accounts.default_of(portal_id)
    is_continued = portal.is_paused and not portals.by_id(portal_id).is_paused
    if is_continued or (account is not None and services.gateway(account) is not None):
        messages.wake_account(account.id if account else None, portal_id, now=services.now())
        services.engine.hint("submit", portal_id)


def _rule_of(services: Services, portal: Portal, account: Account | None) -> Callable[[Message], Ruling]:
    standing = _standing(services, account) if account is not None else None
    now = services.now()

    def rule(message: Message) -> Ruling:
        decide = policy.decide_repeat if message.status is MessageStatus.UNKNOWN else policy.decide
        decision = decide(message, portal.state, portal.settings, standing, now=now)
        if portal.is_paused:
            decision = policy.under_pause(decision, message, portal.paused_why, now=now)
        return Ruling(decision, measure(message.text))

    return rule


def _standing(services: Services, account: Account) -> Standing:
    adapter = services.gateways.get(account.slug)
    is_marked = adapter is not None and not adapter.capabilities.sends
    return replace(account.standing, is_trial=is_marked and services.config.demo_gateway == "marked")


def _count_exceptions(services: Services, taken: Taken) -> None:
    for row_id, why in taken.poison.items():
        note_fault(services, row_id, why)


@dataclass(frozen=True)
class _Done:
    """What came of one call: an outcome for each message; None: it was not made, since it was too late for
    it, or another process keeps the line."""

    claims: Sequence[Claim]
    outcomes: Sequence[Outcome] | None
    took_s: float = 0.0
    exchanges: tuple[Exchange, ...] = ()


class Submissions:
    """One account with its open calls, its pace and its standing."""

    def __init__(self, services: Services, account: Account) -> None:
        self._services, self._account = services, account
        self._portal = portals.by_id(account.portal_id)
        self._pace = Pace()
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._open = 0
        self._lease: str | None = None
        self._kept_at = self._known_at = self._looked_at = 0.0
        self._get_ready()

    # --- the owner, as `drain` asks for it

    def take(self) -> bool:
        services = self._services
        if services.engine.stopping.is_set():
            return False
        self._lease = pace.claim_drain(self._account.id, now=services.now(), lease_s=services.timing.drain_s)
        self._kept_at, self._known_at, self._looked_at = time.monotonic(), 0.0, 0.0
        return self._lease is not None

    def release(self) -> None:
        if self._lease is not None:
            pace.release_drain(self._account.id, self._lease, next_at=self._pace.next_at)

    def has_due(self) -> bool:
        return claims.has_due(self._sending, self._services.now())

    def work(self) -> bool:
        """Call until nothing is due. What is open is recorded in any case, also when the lease was lost: each
        row has a lease of its own."""
        try:
            while self._keep():
                begun = self._begin()
                if self._open:
                    self._record(self._ended(TICK_S))
                elif begun is None:
                    return False
                elif begun.looked_at == len(begun.poison):
                    wait_s = self._pace.wait_s(self._services.now())
                    if wait_s > self._services.timing.drain_s / 2:
                        self._come_back(wait_s)
                        return False
                    if not wait_s or not self.has_due():
                        break
                    self._services.engine.stopping.wait(wait_s)
        finally:
            while self._open:
                self._record(self._ended(TICK_S))
        return True

    def _come_back(self, wait_s: float) -> None:
        """No thread waits longer for the account's pace than its lease lasts; the sweeper comes by, too."""
        if wait_s < self._services.timing.sweep_s:
            self._services.engine.hint("submit", self._portal.id, delay_s=wait_s)

    def _keep(self) -> bool:
        services = self._services
        if services.engine.stopping.is_set() or self._lease is None:
            return False
        if time.monotonic() - self._kept_at < services.timing.drain_s / 4:
            return True
        self._kept_at = time.monotonic()
        until = services.now() + services.timing.span("drain_s")
        try:
            return pace.keep_drain(self._account.id, self._lease, until=until)
        except StoreUnavailable:
            return False

    # --- what goes out

    def _begin(self) -> Taken | None:
        """Take what may go now and call it. None: the account must be left alone for a while."""
        services = self._services
        if not self._know():
            return None
        now = services.now()
        places = self._places(now)
        if places is None:
            return None
        hinted = services.engine.was_hinted("submit", self._portal.id)
        if not places or not (hinted or time.monotonic() - self._looked_at >= LOOK_EVERY_S):
            return Taken()
        taken = self._take(places, now)
        if taken.looked_at < places:
            self._looked_at = time.monotonic()
        return taken

    def _take(self, places: int, now: datetime) -> Taken:
        services, account = self._services, self._account
        bulk = max(1, self._can.bulk_max)
        deadline = time.monotonic() + services.timing.gateway_deadline_s  # the leases begin now
        taken = claims.take(
            self._sending,
            _rule_of(services, self._portal, account),
            limit=places,
            now=now,
            timing=services.timing,
        )
        self._pace.took(len(taken.claims), now)
        for first in range(0, len(taken.claims), bulk):
            self._call(taken.claims[first : first + bulk], deadline)
        _count_exceptions(services, taken)
        if taken.ended:
            hint_push(services, self._portal.id)
        if self._lets_nothing_go and taken.looked_at:
            self._look_again()
        return taken

    @property
    def _lets_nothing_go(self) -> bool:
        return self._account.standing.is_stopped or self._portal.is_paused

    def _look_again(self) -> None:
        """Whoever repaired the account or ended the pause in this very moment woke only what was held by
        then."""
        self._known_at = 0.0
        if self._know() and not self._lets_nothing_go:
            messages.wake_account(self._account.id, self._portal.id, now=self._services.now())
            self._looked_at = 0.0

    def _know(self) -> bool:
        """Look up settings and standing from time to time. False when the account is gone."""
        if time.monotonic() - self._known_at < KNOWN_S:
            return True
        account = accounts.by_id(self._account.id)
        adapter = self._services.gateways.get(account.slug) if account is not None else None
        if account is None or adapter is None:
            return False
        if adapter.capabilities.needs_line and self._line() is None:
            return False
        self._account, self._portal = account, portals.by_id(account.portal_id)
        self._get_ready()
        self._known_at = time.monotonic()
        return True

    def _line(self) -> HandOver | None:
        find = self._services.line_of
        return find(self._account.id) if find is not None else None

    def _get_ready(self) -> None:
        """What all calls of the account have in common: to work it out for each cost as much as the call."""
        services, account, line = self._services, self._account, self._line()
        adapter = services.gateways.adapters[account.slug]
        self._way = _UntilDeadline(services.gateway_http(account.slug), line)
        over_line = self._way.hand_over if line is not None else None
        self._gateway = adapter(account.settings, Context(http=self._way, line=over_line))
        self._can = self._gateway.active_capabilities
        self._answered = answering(services, self._portal, self._gateway)
        self._originators: dict[str, str] = {}
        self._pace.learn(account.rate_per_s, account.next_slot_at, most_per_s=self._can.rate_per_s)

    def _places(self, now: datetime) -> int | None:
        """How many messages may go now; None while a silent gateway has to be left alone."""
        account, bulk = self._account, max(1, self._can.bulk_max)
        if self._lets_nothing_go:
            return claims.AT_ONCE  # nothing is called: what is due is held
        if account.is_silent:  # one call into the silence needs no pace
            if self._open:
                return 0
            if not pace.begin_lone_call(account, now=now, pause_s=self._services.timing.breaker_s):
                return None
            return bulk
        window = min(WINDOW, self._services.engine.share_of_calls())
        if account.failures:
            window = min(window, REFUSALS_TO_STOP - account.failures)
        if account.bad_calls:
            window = min(window, BAD_CALLS_TO_PAUSE - account.bad_calls)
        return self._pace.places(now, max(0, window - self._open) * bulk)

    def _call(self, batch: Sequence[Claim], deadline: float) -> None:
        """Begin one call on a thread of its own."""
        now = self._services.now()
        try:
            outgoing = [self._outgoing(claim, now) for claim in batch]
        except Exception as error:
            log.exception("message cannot be handed over", extra={"install": self._portal.id})
            for claim in batch:
                claims.give_back(claim, now=now)
                note_fault(self._services, claim.message.id, type(error).__name__)
            return
        call = _Call(self._gateway, self._way, outgoing, batch, deadline)
        self._open += 1
        self._services.engine.calls.submit(_make, call, self._done)

    def _outgoing(self, claim: Claim, now: datetime) -> Outgoing:
        message = claim.message
        code = message.sender_code
        if code not in self._originators:
            self._originators[code] = senders.originator_for(claim.portal_id, code)
        return Outgoing(
            reference=claim.reference,
            recipient=message.recipient,
            text=message.text,
            originator=self._originators[code] or self._gateway.originator,
            report_url=self._services.report_url(self._account, claim.reference),
            encoding="gsm7" if message.encoding == "gsm7" else "ucs2",
            segments=message.segments,
            validity_s=max(60, int((message.expires_at - now).total_seconds())),
            again=claim.calls > 1,
        )

    @property
    def _sending(self) -> Sending:
        account = self._account
        return Sending(account.portal_id, account.id, account.slug, account.is_default)

    # --- what came of it

    def _ended(self, wait_s: float) -> list[_Done]:
        """The calls that have ended: one, unless none does in time, with those that end beside it."""
        try:
            ended = [self._done.get(timeout=wait_s)]
        except queue.Empty:
            return []
        if self._open > 1:
            time.sleep(GATHER_BUSY_S if self._open >= BUSY else GATHER_S)
        while not self._done.empty():
            ended.append(self._done.get())
        self._open -= len(ended)
        return ended

    def _record(self, ended: Sequence[_Done]) -> None:
        services = self._services
        for done in ended:
            if done.outcomes is None:
                self._give_back(done.claims)
        answers = [
            self._answered(claim, outcome, exchanges=done.exchanges)
            for done in ended
            for claim, outcome in zip(done.claims, done.outcomes or (), strict=False)
        ]
        if not answers:
            return
        self._measure(ended)
        recorded = _keep_trying(lambda: outcomes.record(answers, now=services.now(), timing=services.timing))
        now = services.now()
        self._judge(answers, now)
        for answer in answers:
            self._note(answer)
        told = [each.push_due_at for each in recorded if each.push_due_at is not None]
        if told:
            delay_s = max(0.0, (min(told) - now).total_seconds())
            services.engine.hint("push", self._portal.id, delay_s=delay_s)

    def _give_back(self, not_called: Sequence[Claim]) -> None:
        """Due again, as if nobody had tried. Where the lease was lost meanwhile and the outcome counts as
        unknown, this is the answer to that question."""
        services = self._services
        surely_not = Refused(RefusalKind.TEMPORARY, "not_made", "it was not sent")
        for claim in not_called:
            if _keep_trying(partial(claims.give_back, claim, now=services.now())):
                continue
            late = partial(outcomes.record, [self._answered(claim, surely_not)], timing=services.timing)
            _keep_trying(partial(late, now=services.now()))

    def _measure(self, ended: Sequence[_Done]) -> None:
        counts, slug = self._services.counts, self._account.slug
        names = Counter(type(outcome).__name__ for done in ended for outcome in done.outcomes or ())
        for name, times in names.items():
            counts.add("sms_gateway_requests_total", times, gateway=slug, outcome=name)
        for done in ended:
            if done.outcomes is not None:
                counts.observe("sms_gateway_duration_seconds", done.took_s, gateway=slug)

    def _note(self, answer: Answered) -> None:
        services = self._services
        is_soon = answer.poll_s is not None and answer.poll_s < services.timing.sweep_s
        if isinstance(answer.outcome, Accepted) and is_soon:
            delay_s = answer.poll_s or 0.0
            services.engine.hint("follow_up", answer.claim.message.id, delay_s=delay_s)

    def _judge(self, answers: Sequence[Answered], now: datetime) -> None:
        """What the answers say of the account itself."""
        account, timing = self._account, self._services.timing
        accepted = sum(isinstance(answer.outcome, Accepted) for answer in answers)
        self._pace.note_accepted(accepted, now)
        if accepted and (account.is_silent or account.bad_calls or account.failures or account.rate_per_s):
            self._known_at = self._looked_at = 0.0
        for answer in answers:
            match answer.outcome:
                case Refused(kind=RefusalKind.CONFIG) as refused:
                    _count_refusal(self._services, account, answer.claim, refused, now)
                case Refused(kind=RefusalKind.THROTTLE) as refused:
                    pace.slow_down(
                        account,
                        pause_s=min(refused.retry_after_s or 1.0, LONGEST_PAUSE_S),
                        seen_per_s=self._pace.accepted_per_s(now) or FIRST_PACE_PER_S,
                        now=now,
                    )
                case Refused(kind=RefusalKind.TEMPORARY) | Unknown():
                    if pace.note_no_answer(account, pause_s=timing.breaker_s, now=now):
                        log.error(
                            "gateway does not answer: one call at a time until it does",
                            extra={
                                "install": account.portal_id,
                                "account": account.id,
                                "gateway": account.slug,
                            },
                        )
                case _:
                    continue
            self._known_at = 0.0


class _UntilDeadline:
    """HTTP, or a line, for submissions: all calls of one together end by one moment, checked before each is
    written. Over a line the answer may come a little later.

    Each submission has a thread of its own, and says there until when.
    """

    def __init__(self, http: HttpClient, line: HandOver | None) -> None:
        self._http, self._line, self._thread = http, line, threading.local()

    def begin(self, deadline: float) -> None:
        self._thread.deadline, self._thread.made = deadline, []

    def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        return called(self._http.request, self.made, method, url, deadline=self._deadline, **options)

    def hand_over(self, message: Outgoing) -> Outcome:
        assert self._line is not None
        return self._line(message, self._deadline)

    @property
    def made(self) -> list[Call]:
        """The calls of the submission that this thread began last."""
        found: list[Call] = self._thread.__dict__.setdefault("made", [])
        return found

    @property
    def _deadline(self) -> float:
        return float(getattr(self._thread, "deadline", 0.0))  # none was said: it is over


@dataclass(frozen=True)
class _Call:
    """One call of a gateway: one message, or as many as it takes at once."""

    gateway: Gateway
    way: _UntilDeadline
    outgoing: Sequence[Outgoing]
    claims: Sequence[Claim]
    deadline: float


def _make(call: _Call, done: queue.SimpleQueue[_Done]) -> None:
    """On a thread of its own. Whatever happens, the gateway is not called after the deadline: then the lease
    is nearly over, and another worker may judge the message."""
    began = time.monotonic()
    if began >= call.deadline:
        done.put(_Done(call.claims, None))
        return
    try:
        call.way.begin(call.deadline)
        found = submit_all(call.gateway, call.outgoing)
        done.put(_Done(call.claims, found, time.monotonic() - began, _exchanges(call, found)))
    except NotMade:
        done.put(_Done(call.claims, None))
    except BaseException as error:
        unknown = Unknown(f"the call ended by {type(error).__name__}")
        done.put(_Done(call.claims, [unknown] * len(call.claims)))
        raise


def _exchanges(call: _Call, found: Sequence[Outcome]) -> tuple[Exchange, ...]:
    """The calls as they may be shown; of what went well a little is enough."""
    went_well = all(isinstance(outcome, Accepted) for outcome in found)
    most = KEPT_CHARACTERS // 3 if went_well else KEPT_CHARACTERS
    try:
        redaction = Redaction(call.gateway, call.outgoing)
        return tuple(redaction.written_down(each, most=most) for each in call.way.made[-3:])
    except Exception:  # what is only to be looked at must never change what became of a message
        log.exception("calls cannot be shown", extra={"gateway": call.gateway.slug})
        return ()


def _keep_trying(record: Callable[[], Result]) -> Result:
    """Write an outcome even when the database is down for a while: without it the outcome is unknown."""
    ends = time.monotonic() + STORE_TRIES_S
    while True:
        try:
            return record()
        except StoreUnavailable:
            if time.monotonic() > ends:
                raise
            time.sleep(0.5)


def _count_refusal(
    services: Services, account: Account, claim: Claim, refused: Refused, now: datetime
) -> None:
    stopped = stops.count_refusal(
        account,
        claim.message.id,
        reason=f"{refused.code}: {refused.text}".strip(": "),
        probe_at=now + services.timing.span("account_probe_s"),
        now=now,
    )
    if stopped:
        log.error(
            "gateway account stopped: its key or balance is refused",
            extra={"install": account.portal_id, "account": account.id, "gateway": account.slug},
        )
