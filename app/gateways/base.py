"""The interface of a gateway adapter: one class, declared as data where it can be.

An adapter translates and nothing more: no database, no retry, no Flask. It builds a request,
reads an answer, and reads reports. The core alone makes the calls (`context.http`), keeps to deadlines and
the pace, repeats, redacts, checks addresses, orders statuses and puts parts together.
`gateways.registry` finds every adapter in `gateways/adapters`, every preset in `gateways/presets` and what
the operator allows of other packages at start.
"""

from __future__ import annotations

import json as jsonlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

from app.domain.outcomes import Balance, DeliveryReport, Outcome, Reports
from app.domain.sentences import N_
from app.gateways.answers import QuestionRefused, outcome_of, word
from app.transport import HttpAnswer, NotSent, TransportError, decode_text, parse_form, parse_json

# Raised with every change that an adapter outside this repository has to follow.
INTERFACE_VERSION = 1

FieldKind = Literal["text", "secret", "url", "int", "bool", "choice", "originator", "json", "long"]


@dataclass(frozen=True)
class Field:
    """One setting of a gateway: the form, its validation, encryption and the docs are drawn from it.

    A `secret` value is encrypted at rest and never sent back to a browser; `write_only` makes one of any
    other kind (headers with a key in them). `kind="json"` holds a JSON object as text (headers, a
    template, a map of words), `kind="long"` a text of several lines. `choices` are (value, label) pairs.
    A `bool` is "true" or "false".
    `names_account` marks what tells one account at the gateway from another (its address, login or account
    id): a change of it begins a new account here, and the old one lives until its messages are over. A key
    or password that is merely renewed is not marked. `is_place` marks what says where calls go without being
    a URL (host, port, whether TLS is on): a stored secret is asked for again when one of them changes.
    """

    name: str
    label: str
    kind: FieldKind = "text"
    help: str = ""
    required: bool = False
    default: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    pattern: str = ""
    example: str = ""
    advanced: bool = False
    write_only: bool = False
    names_account: bool = False
    is_place: bool = False

    @property
    def secret(self) -> bool:
        return self.write_only or self.kind == "secret"


@dataclass(frozen=True)
class Capabilities:
    """What a gateway can do; the core and the UI read these, never the class."""

    reports: Literal["callback", "poll", "both", "line", "none"] = "callback"
    per_message_callback: bool = False  # False: the admin pastes the report URL into the gateway's console
    signed_callback: bool = False
    idempotent: bool = False  # a second submission with the same reference is dropped by the gateway
    lookup: bool = False  # `look_up` can tell whether a reference was taken
    balance: bool = False  # `balance` can tell what is left
    originators: bool = False  # `originators` can list what the account may send from
    webhooks: bool = False  # `on_enable` tells the gateway where to report; nobody pastes an address
    rate_per_s: float | None = None  # the most that the gateway takes in a second; None: it says so by itself
    bulk_max: int = 1  # messages that one call of `submit_many` may carry; 1: only `submit` is called
    own_sender: bool = True  # False: messages leave under the account's own number, whatever we say
    needs_line: bool = False  # messages go over a connection that the `smpp` process keeps
    sends: bool = True  # False: a trial; nothing leaves the application
    poll_after_s: float = 600.0  # pause before the first `poll` of a message; the core then waits longer
    poll_max: int = 50  # messages in one call of `poll`


@dataclass(frozen=True)
class Outgoing:
    """One message as an adapter gets it. `reference` is ours: at most 20 url-safe characters."""

    reference: str
    recipient: str  # E.164 with "+"
    text: str
    originator: str
    report_url: str
    encoding: Literal["gsm7", "ucs2"]
    segments: int
    validity_s: int
    again: bool = False  # an earlier call under this reference had no clear end: a double is an acceptance


@dataclass(frozen=True)
class Submitted:
    """One part of a message that the gateway took, as `poll` asks for it."""

    gateway_message_id: str
    recipient: str = ""  # E.164 with "+"; empty where it was erased
    reference: str = ""  # ours


@dataclass(frozen=True)
class GatewayCall:
    """A call of a gateway at its report URL. `url` is the public one, as the gateway called it."""

    method: str
    url: str
    query: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    reference: str = ""  # the last path segment of the report URL, where a gateway echoes nothing else
    address: str = ""  # the caller's, as far as proxies that we trust tell it

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @cached_property
    def form(self) -> dict[str, str]:
        """The fields of a form, multipart too; of a name that comes twice the last value."""
        return dict(self.form_fields)

    @cached_property
    def form_fields(self) -> list[tuple[str, str]]:
        """The same with repeated names, in their order; raises ValueError for too many."""
        return parse_form(self.body, self.content_type)

    @cached_property
    def args(self) -> dict[str, str]:
        return dict(self.arg_fields)

    @cached_property
    def arg_fields(self) -> list[tuple[str, str]]:
        return parse_form(self.query.encode("latin-1", errors="replace"))

    @cached_property
    def json(self) -> Any:
        """The parsed body, in the charset that its header names; raises ValueError when it is not JSON."""
        return parse_json(self.body, self.content_type)

    @cached_property
    def fields(self) -> dict[str, str]:
        """The fields of a flat report as texts, wherever they stand: the query, a form, a JSON object."""
        start = decode_text(self.body[:100], self.content_type).lstrip("\ufeff \r\n\t")
        if start[:1] != "{":
            return self.args | self.form
        return self.args | {name: _as_text(value) for name, value in self.json.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return jsonlib.dumps(value) if isinstance(value, (dict, list)) else word(value)


class ReportRejected(Exception):
    """A report whose signature or shape proves that it is not the gateway's: answered 403."""


@dataclass(frozen=True)
class CheckResult:
    """The answer to "Save and check".

    `text` and `why` are fixed sentences of ours, found in the catalogue of translations: what is wrong and
    what to do, or the good news; and what became of the call where nobody answered. `words` are the
    gateway's own, shown apart and as they are.
    """

    ok: bool
    text: str
    balance: str = ""
    words: str = ""
    why: str = ""

    @classmethod
    def refused(cls, error: QuestionRefused, text: str = "") -> CheckResult:
        """The gateway answered, and not well."""
        return cls(
            False, text or N_("The gateway did not accept the sign-in or the question."), words=str(error)
        )

    @classmethod
    def unreachable(cls, error: TransportError) -> CheckResult:
        """The gateway was not reached, or gave no answer."""
        if isinstance(error, NotSent):
            return cls(False, N_("The gateway could not be reached."), why=str(error))
        return cls(False, N_("The gateway gave no complete answer."), why=str(error))

    @property
    def summary(self) -> str:
        """All of it, a line for each sentence, so that a page can say it in another language."""
        return "\n".join(filter(None, (self.text, f"({self.why})" if self.why else "", self.words)))


class Http(Protocol):
    """Outward HTTP as adapters see it; see `app.transport.HttpClient` for what it raises."""

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | bytes | None = None,
        json: Any = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> HttpAnswer: ...


@dataclass(frozen=True)
class Context:
    """What an adapter may use of the world outside: HTTP, and the time where a gateway asks for dates.

    `open_socket` (host, port, seconds) makes a plain TCP connection to a checked address, for protocols other
    than HTTP. `line` hands a message over the account's line, in the process that holds it; None elsewhere.
    """

    http: Http
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    open_socket: Callable[[str, int, float], socket.socket] | None = None
    line: Callable[[Outgoing], Outcome] | None = None


class NotMade(Exception):
    """A line's word that this process must not send the message, which goes back as if nobody had tried."""


class SettingsInvalid(Exception):
    """Settings that cannot work. `errors` maps a field's name to a sentence for its form."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


class Gateway:
    """Base of all adapters. Subclasses set the class data and write `submit` and `parse_reports`.

    What an adapter may rely on: `settings` has every declared field, validated; `context.http` keeps to the
    deadline of the whole submission by itself, so that several calls in one method are safe. What the core
    relies on: no method keeps state between calls, or does anything but build requests and read answers.
    """

    slug: ClassVar[str]  # in URLs and rows: never changes
    title: ClassVar[str]
    # For the list that people choose from.
    kind: ClassVar[Literal["adapter", "preset"]] = "adapter"
    regions: ClassVar[tuple[str, ...]] = ()  # ISO codes of countries, or "*" for everywhere
    needs: ClassVar[str] = ""  # what to have at hand, such as "An API key"
    docs_url: ClassVar[str] = ""
    sign_up_url: ClassVar[str] = ""
    key_url: ClassVar[str] = ""  # the page of the gateway's console where the key is shown
    capabilities: ClassVar[Capabilities] = Capabilities()
    fields: ClassVar[tuple[Field, ...]] = ()
    # The gateway's codes in plain words for an admin: what it means, what to do.
    explanations: ClassVar[Mapping[str, str]] = {}
    # Adapters from outside this repository state the INTERFACE_VERSION that they were written for.
    interface_version: ClassVar[int] = INTERFACE_VERSION

    def __init__(self, settings: Mapping[str, str], context: Context) -> None:
        # Settings stored by an earlier release lack the fields that came since.
        self.settings = {field.name: field.default for field in self.fields} | dict(settings)
        self.context = context

    @property
    def active_capabilities(self) -> Capabilities:
        """What this account can do; differs from the class where a setting decides it."""
        return self.capabilities

    @property
    def originator(self) -> str:
        return self.settings.get("originator", "")

    # --- submissions; the core calls them through `gateways.submission.submit_all`

    def submit(self, message: Outgoing) -> Outcome:
        """Hand one message over. An exception other than `NotSent` counts as `Unknown`."""
        raise NotImplementedError

    def submit_many(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """Hand over up to `bulk_max` messages, of one account, with any texts and originators.

        One outcome for each message, in their order. An item that the answer does not mention is `Unknown`
        and taints no other. An exception speaks for all of them: `NotSent` none was taken, else all are
        unknown. An adapter that needs several calls turns the failure of one into outcomes with `outcome_of`.
        """
        return [_outcome_alone(self, message) for message in messages]

    # --- delivery reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        """Read a call at the report URL; pure. Junk may raise ValueError or KeyError: answered 400.

        A call without any report in it (a console's probe, an event of another kind) is `Reports(())`: it
        is answered like a report. HEAD, and calls without a query and a body, never come here.

        Raises:
            ReportRejected: the signature is missing or wrong: 403.
        """
        raise NotImplementedError

    def read_unproved(self, request: GatewayCall) -> Reports:
        """The same for a person who tries a sample: without the signature, where that can be left out."""
        return self.parse_reports(request)

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        """Whether the gateway took `reference`; None when it cannot tell. Needs `lookup`."""
        return None

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        """Reports fetched for up to `poll_max` parts, in any order; for gateways that do not call us.

        What the gateway does not know is left out. Reports name their message by the ids of `sent`.
        """
        return []

    # --- the account

    def balance(self) -> Balance | None:
        """What is left; None when the answer does not say. Needs `balance` among the capabilities.

        Raises:
            TransportError: the gateway was not reached.
            QuestionRefused: it answered, and not well; see `answers.body_of`.
        """
        return None

    def originators(self) -> list[str]:
        """What the account may send from, for the settings form; raises as `balance` does."""
        return []

    def check(self) -> CheckResult:
        """A cheap authenticated call that costs no message, for "Save and check"; raises nothing.

        This one asks for the balance. Gateways without one ask something else that needs the key.
        """
        if not self.active_capabilities.balance:
            return CheckResult(ok=True, text="Saved. This gateway has nothing to check; send a test SMS.")
        try:
            balance = self.balance()
        except QuestionRefused as error:
            return CheckResult.refused(error)
        except TransportError as error:
            return CheckResult.unreachable(error)
        text = N_("The gateway answers and accepts the sign-in.")
        return CheckResult(ok=True, text=text, balance="" if balance is None else str(balance))

    def on_enable(self, report_url: str) -> None:
        """Tell the gateway to report to `report_url`; repeated, so it looks first what is there.

        Called after each "Save and check" that went well, and with the regular check. Raises as `balance`
        does. Needs `webhooks`.
        """

    def on_disable(self, report_url: str) -> None:
        """Take back what `on_enable` did for this address, and nothing else; what is gone is gone well."""

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        """Checks that one field alone cannot express.

        Raises:
            SettingsInvalid: naming the fields.
        """


def _outcome_alone(gateway: Gateway, message: Outgoing) -> Outcome:
    try:
        return gateway.submit(message)
    except Exception as error:
        return outcome_of(error)


@dataclass(frozen=True)
class Registry:
    """All adapters by slug."""

    adapters: Mapping[str, type[Gateway]] = field(default_factory=dict)

    def get(self, slug: str) -> type[Gateway] | None:
        return self.adapters.get(slug)
