"""The line to one account's message centre: it is kept open, and messages go over it as parts.

A `Line` lives in one event loop, in the one process that holds the account.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.gateways.base import Outgoing
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


class Line:
    """Keeps the account's sessions bound, and hands messages over."""

    def __init__(self, settings: LineSettings, connect: Connect, deliver: Deliver, changed: Changed) -> None:
        self._settings, self._connect, self._deliver, self._changed = settings, connect, deliver, changed
        self._speaking: Session | None = None
        self._standing = asyncio.Event()
        self._references = itertools.cycle(range(1, 0x10000))
        self._ending = asyncio.Event()
        self._sessions: list[Session] = []

    async def keep(self) -> None:
        """Bind, and bind again whenever the line is lost, until `end`. Pauses grow and are spread."""
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            why, is_refused = await self._stand_once()
            if self._ending.is_set():
                break
            if why == "":
                pause_s = FIRST_PAUSE_S
                continue
            self._changed(why, is_refused)
            spread_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads those who wait
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), spread_s)
            longest = LONGEST_PAUSE_AFTER_REFUSAL_S if is_refused else LONGEST_PAUSE_S
            pause_s = min(pause_s * 2, longest)

    async def _stand_once(self) -> tuple[str, bool]:
        """Bind and wait for the end: an empty reason when the line stood, else why it did not."""
        try:
            for role in self._settings.roles:
                await self._open(role)
        except BindRefused as error:
            await self._close_all("a bind was refused")
            words = _CONFIG.get(error.status, "")
            return f"{words or 'the message centre refuses the login'} (0x{error.status:02X})", True
        except (Malformed, NoAnswer, LineLost) as error:
            await self._close_all(str(error))
            return str(error), isinstance(error, Malformed)
        except Exception as error:
            await self._close_all(str(error))
            return str(error) or type(error).__name__, False
        self._standing.set()
        self._changed("", False)
        done, _ = await asyncio.wait(
            [session.closed for session in self._sessions], return_when=asyncio.FIRST_COMPLETED
        )
        self._standing.clear()
        why = next(iter(done)).result()
        log.warning("line lost", extra={"why": why})
        await self._close_all(why)
        return "", False

    async def _open(self, role: Role) -> None:
        reader, writer = await asyncio.wait_for(self._connect(self._settings), self._settings.pace.answer_s)
        session = Session(reader, writer, self._settings.pace, self._deliver)
        self._sessions.append(session)
        session.start()
        await session.bind(role, self._settings.login)
        if role != "receiver":
            self._speaking = session

    async def _close_all(self, why: str) -> None:
        self._speaking = None
        for session in self._sessions:
            await session.close(why)
        self._sessions.clear()

    async def end(self) -> None:
        """Drain the window, say goodbye, close. What was not answered by then is unknown."""
        self._ending.set()
        for session in list(self._sessions):
            with suppress(Exception):
                await session.leave()

    async def submit(self, message: Outgoing, within_s: float) -> Outcome:
        """Hand one message over, its parts one after the other; three outcomes, never an exception."""
        ends = asyncio.get_running_loop().time() + within_s
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
        ids: list[str] = []
        for packet in packets:
            outcome = await self._submit_part(packet, ends)
            if not isinstance(outcome, Accepted):
                return _of_a_part(outcome, len(ids), len(packets))
            ids += outcome.ids
        return Accepted(tuple(ids), segments=len(parts))

    async def _submit_part(self, packet: ShortMessage, ends: float) -> Outcome:
        """Throttled ones again while there is time: the centre surely did not take them."""
        while True:
            left_s = ends - asyncio.get_running_loop().time()
            if left_s <= 0:
                return Refused(RefusalKind.TEMPORARY, "not_sent", "there was no time left to send it")
            try:
                session = await asyncio.wait_for(self._bound(), left_s)
            except TimeoutError:
                return Refused(RefusalKind.TEMPORARY, "not_bound", "the line to the message centre is down")
            try:
                answer = await session.submit(packet, left_s)
            except LineLost as error:
                return Refused(RefusalKind.TEMPORARY, "line_lost", str(error))
            except NoAnswer as error:
                return Unknown(str(error))
            outcome = outcome_of(answer)
            is_throttled = isinstance(outcome, Refused) and outcome.kind is RefusalKind.THROTTLE
            if not is_throttled or ends - asyncio.get_running_loop().time() < 2 * THROTTLE_PAUSE_S:
                return outcome
            await asyncio.sleep(THROTTLE_PAUSE_S)

    async def _bound(self) -> Session:
        while (session := self._speaking) is None or not self._standing.is_set():
            await self._standing.wait()
            await asyncio.sleep(0)
        return session


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


def _of_a_part(outcome: Outcome, taken: int, of: int) -> Outcome:
    """A message of which some parts were taken can be neither finished later nor begun again."""
    if taken == 0 or isinstance(outcome, Unknown):
        return outcome
    assert isinstance(outcome, Refused)
    return Refused(
        RefusalKind.PERMANENT,
        outcome.code,
        f"part {taken + 1} of {of} was refused after the others were taken: {outcome.text}",
    )


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
