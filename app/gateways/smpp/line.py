"""The line to one account's message centre: it is kept open, and messages go over it as parts.

A `Line` lives in one event loop, in the one process that holds the account.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.gateways.base import NotMade, Outgoing
from app.gateways.smpp import pdu
from app.gateways.smpp.pdu import Address, Malformed, Pdu, ShortMessage
from app.gateways.smpp.session import BindRefused, Deliver, LineLost, Login, NoAnswer, Pace, Role, Session
from app.gateways.smpp.texts import Alphabet, Long, Part, parts_of

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_PAUSE_AFTER_REFUSAL_S = 300.0  # a wrong password that is tried often gets the address blocked
THROTTLE_PAUSE_S = 1.0

# What the centre's status means for us; SMPP v3.4, 5.1.3. What is not here is about the message.
_THROTTLE = {0x14: "its queue is full", 0x58: "we send too fast"}
_TEMPORARY = {0x08: "a system error", 0x45: "the submission failed", pdu.RX_T_APPN: "an error that passes"}
_CONFIG = {
    pdu.RINVBNDSTS: "the session may not submit",
    0x0A: "the originator is not allowed",
    pdu.RBINDFAIL: "the bind failed",
    pdu.RINVPASWD: "wrong password",
    pdu.RINVSYSID: "wrong system id",
}
# A centre holds a connection that was cut for bound until it notices, and none of these says that the login
# is wrong.
_PASSING_AT_BIND = {pdu.RALYBND: "another session of this login is bound", **_THROTTLE, **_TEMPORARY}
_PERMANENT = {
    0x01: "the message is too long",
    0x02: "the command is too long",
    0x0B: "the recipient's number is wrong",
    0x33: "the recipient's number is wrong",
    0x43: "the message's class is not taken",
    0x61: "the delivery time is wrong",
    0x62: "the validity is wrong",
    0xFE: "the message was not delivered",
}


@dataclass(frozen=True)
class LineSettings:
    """One account's settings, typed."""

    host: str
    port: int
    login: Login
    bind: Literal["transceiver", "transmitter+receiver"] = "transceiver"
    tls: bool = False
    tls_name: str = ""  # the name in the certificate, where it is not the host's
    pace: Pace = field(default_factory=Pace)
    rate_per_s: int = 0  # of parts; 0: as many as it takes
    alphabet: Alphabet = "gsm7"
    long: Long = "udh"
    service_type: str = ""

    @property
    def roles(self) -> tuple[Role, ...]:
        return ("transceiver",) if self.bind == "transceiver" else ("receiver", "transmitter")


# A connected, checked socket's streams. It raises OSError, or an error of `app.transport`.
Connect = Callable[[LineSettings], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
# What became of the line: empty when it stands, else why not, and whether the centre refused our login.
Changed = Callable[[str, bool], None]
# What the centre said of a message, by its reference, after we had given up waiting for it.
Late = Callable[[str, Outcome], None]

_NOT_OURS = Refused(RefusalKind.TEMPORARY, "not_held", "another process holds the account now")


@dataclass(frozen=True)
class Events:
    """What a line tells its owner, and asks it: `may_speak` right before each packet with a message, since
    whoever was paused may have lost the account meanwhile."""

    deliver: Deliver
    changed: Changed
    late: Late
    may_speak: Callable[[], bool]


class Line:
    """Keeps the account's sessions bound, and hands messages over."""

    def __init__(self, settings: LineSettings, connect: Connect, events: Events) -> None:
        self._settings, self._connect, self._events = settings, connect, events
        self._speaking: Session | None = None
        self._standing = asyncio.Event()
        self._references = itertools.cycle(range(1, 0x10000))
        self._ending = asyncio.Event()
        self._sessions: list[Session] = []
        self._next_turn = 0.0
        self._was_of_use = False  # the last line that stood: something passed over it

    async def keep(self) -> None:
        """Bind, and bind again whenever the line is lost, until `end`. Pauses are spread, and grow as long as
        no line is of use: a centre may take every login and leave at once."""
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            began = asyncio.get_running_loop().time()
            why, is_refused = await self._stand_once()
            if self._ending.is_set():
                break
            self._events.changed(why, is_refused)
            if self._was_of_use or asyncio.get_running_loop().time() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            spread_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads those who wait
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), spread_s)
            longest = LONGEST_PAUSE_AFTER_REFUSAL_S if is_refused else LONGEST_PAUSE_S
            pause_s = min(pause_s * 2, longest)

    async def _stand_once(self) -> tuple[str, bool]:
        """Bind and wait for the end: why it came, and whether our login was refused."""
        try:
            for role in self._settings.roles:
                await self._open(role)
        except BindRefused as error:
            await self._close_all("a bind was refused")
            passing = _PASSING_AT_BIND.get(error.status, "")
            words = passing or _CONFIG.get(error.status, "the message centre refuses the login")
            return f"{words} (0x{error.status:02X})", not passing
        except (Malformed, NoAnswer, LineLost) as error:
            await self._close_all(str(error))
            return str(error), isinstance(error, Malformed)
        except Exception as error:
            await self._close_all(str(error))
            return str(error) or type(error).__name__, False
        self._standing.set()
        self._events.changed("", False)
        done, _ = await asyncio.wait(
            [session.closed for session in self._sessions], return_when=asyncio.FIRST_COMPLETED
        )
        self._standing.clear()
        why = next(iter(done)).result()
        log.warning("line lost", extra={"why": why})
        await self._close_all(why)
        return why, False

    async def _open(self, role: Role) -> None:
        reader, writer = await asyncio.wait_for(self._connect(self._settings), self._settings.pace.answer_s)
        session = Session(reader, writer, self._settings.pace, self._events.deliver)
        self._sessions.append(session)
        session.start()
        await session.bind(role, self._settings.login)
        if role != "receiver":
            self._speaking = session

    async def _close_all(self, why: str) -> None:
        self._speaking = None
        self._was_of_use = any(session.has_served for session in self._sessions)
        for session in self._sessions:
            await session.close(why)
        self._sessions.clear()

    async def end(self) -> None:
        """Drain the window, say goodbye, close. What was not answered by then is unknown."""
        self._ending.set()
        for session in list(self._sessions):
            with suppress(Exception):
                await session.leave()

    async def submit(self, message: Outgoing, ends: float) -> Outcome:
        """Hand one message over; nothing is written after `ends`, of the loop's clock. The first part goes
        alone, for what is refused is refused with it; the others together.

        Raises:
            NotMade: nothing was written, and the message is another process's to send.
        """
        try:
            parts = parts_of(
                message.text,
                long=self._settings.long,
                reference=next(self._references),
                alphabet=self._settings.alphabet,
            )
            packets = [_packet(self._settings, message, part) for part in parts]
        except Malformed as error:
            return Refused(RefusalKind.PERMANENT, "not_smpp", str(error))
        if (refused := self._take_turns(len(packets), ends)) is not None:
            return refused
        taking = _Taking(message.reference, [None] * len(packets), self._events.late)
        first = await self._submit_part(packets[0], ends, taking, 0)
        if first is _NOT_OURS:
            raise NotMade(_NOT_OURS.text)
        if not isinstance(first, Accepted):
            return first
        others = (self._submit_part(packet, ends, taking, at) for at, packet in enumerate(packets) if at)
        return taking.whole(await asyncio.gather(*others))

    def _take_turns(self, parts: int, ends: float) -> Refused | None:
        """A place for all parts of a message in the pace that the contract allows, before the first one goes:
        a message that was begun has to be finished."""
        rate, now = self._settings.rate_per_s, asyncio.get_running_loop().time()
        if not rate:
            return None
        if now + parts / rate > ends:
            text = f"its {parts} parts take too long at {rate} a second"
            return Refused(RefusalKind.PERMANENT, "not_smpp", text)
        begins = max(self._next_turn, now)
        if begins + parts / rate > ends:
            return Refused(RefusalKind.THROTTLE, "pace", "too many wait for their turn", begins - now)
        self._next_turn = begins + parts / rate
        return None

    async def _submit_part(self, packet: ShortMessage, ends: float, taking: _Taking, at: int) -> Outcome:
        """A throttled one again while there is time, unless it is the first: the core slows down then."""
        while True:
            outcome = await self._offer(packet, ends, partial(taking.answered_late, at))
            taking.note(at, outcome)
            is_throttled = isinstance(outcome, Refused) and outcome.kind is RefusalKind.THROTTLE
            if at == 0 or not is_throttled or _left_s(ends) < 2 * THROTTLE_PAUSE_S:
                return outcome
            await asyncio.sleep(THROTTLE_PAUSE_S)

    async def _offer(self, packet: ShortMessage, ends: float, late: Callable[[Outcome], None]) -> Outcome:
        def check() -> None:
            if not self._events.may_speak():
                raise NotMade(_NOT_OURS.text)
            if _left_s(ends) <= 0:
                raise LineLost("there was no time left to send it")

        try:
            session = await asyncio.wait_for(self._bound(), max(0.0, _left_s(ends)))
            answer = await session.submit(
                packet, max(0.0, _left_s(ends)), check=check, late=lambda said: late(outcome_of(said))
            )
        except TimeoutError:
            return Refused(RefusalKind.TEMPORARY, "not_bound", "the line to the message centre is down")
        except NotMade:
            return _NOT_OURS
        except LineLost as error:
            return Refused(RefusalKind.TEMPORARY, "line_lost", str(error))
        except NoAnswer as error:
            return Unknown(str(error))
        return outcome_of(answer)

    async def _bound(self) -> Session:
        while (session := self._speaking) is None or not self._standing.is_set():
            await self._standing.wait()
            await asyncio.sleep(0)
        return session


def _left_s(ends: float) -> float:
    return ends - asyncio.get_running_loop().time()


@dataclass
class _Taking:
    """A message of which the centre takes the parts: their ids, None where it has not said so."""

    reference: str
    ids: list[tuple[str, ...] | None]
    late: Late

    def note(self, at: int, outcome: Outcome) -> None:
        if isinstance(outcome, Accepted):
            self.ids[at] = outcome.ids

    def answered_late(self, at: int, outcome: Outcome) -> None:
        """Tell it where it settles the whole message."""
        self.note(at, outcome)
        if isinstance(outcome, Refused) or all(ids is not None for ids in self.ids):
            self.late(self.reference, self._as_whole(outcome))

    def whole(self, others: Sequence[Outcome]) -> Outcome:
        """The outcome of a message whose first part was taken. The worst of its parts is that of all."""
        bad = [outcome for outcome in others if not isinstance(outcome, Accepted)]
        unknown = next((outcome for outcome in bad if isinstance(outcome, Unknown)), None)
        return unknown or self._as_whole(bad[0] if bad else Accepted(()))

    def _as_whole(self, outcome: Outcome) -> Outcome:
        """A message of which some parts were taken can be neither finished later nor begun again."""
        taken = sum(ids is not None for ids in self.ids)
        if isinstance(outcome, Accepted):
            return Accepted(tuple(each for ids in self.ids for each in ids or ()), segments=len(self.ids))
        if taken == 0 or not isinstance(outcome, Refused):
            return outcome
        text = f"a part was refused after {taken} of {len(self.ids)} were taken: {outcome.text}"
        return Refused(RefusalKind.PERMANENT, outcome.code, text)


def outcome_of(answer: Pdu) -> Outcome:
    """What a `submit_sm_resp` means. An acceptance without an id is one: its receipt cannot be matched."""
    status = answer.status
    if status == pdu.ROK and answer.command != pdu.GENERIC_NACK:
        found = pdu.message_id_of(answer.body)
        return Accepted((found,) if found else ())
    code = f"0x{status:02X}"
    for kind, words in (
        (RefusalKind.THROTTLE, _THROTTLE),
        (RefusalKind.TEMPORARY, _TEMPORARY),
        (RefusalKind.CONFIG, _CONFIG),
    ):
        if status in words:
            return Refused(kind, code, words[status])
    return Refused(RefusalKind.PERMANENT, code, _PERMANENT.get(status, "the message centre refused it"))


def _packet(settings: LineSettings, message: Outgoing, part: Part) -> ShortMessage:
    return ShortMessage(
        source=originator_of(message.originator),
        destination=Address(1, 1, message.recipient.removeprefix("+")),
        short_message=part.octets,
        esm_class=part.esm_class,
        data_coding=part.data_coding,
        registered_delivery=1,
        service_type=settings.service_type,
        validity_period=relative_time(message.validity_s),
        tlvs=part.tlvs,
    )


def originator_of(text: str) -> Address:
    """Names of up to 11 characters, international numbers, and short codes have types of their own."""
    digits = text.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        is_short = len(digits) <= 6 and not text.startswith("+")
        return Address(3, 0, digits) if is_short else Address(1, 1, digits)
    return Address(5, 0, text[:11])


def relative_time(seconds: int) -> str:
    """A span as SMPP writes it: YYMMDDhhmmss000R; 7.1.1. At most 7 days, for many centres take no more."""
    minutes = max(1, min(seconds, 7 * 86400) // 60)
    days, rest = divmod(minutes, 24 * 60)
    return f"0000{days:02d}{rest // 60:02d}{rest % 60:02d}00000R"


def tls_context(settings: LineSettings) -> ssl.SSLContext | None:
    return ssl.create_default_context() if settings.tls else None
