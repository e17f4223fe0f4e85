"""The interface of a gateway adapter: one class, declared as data where it can be.

An adapter translates and nothing more: no database, no retry, no clock, no Flask. It builds a request,
reads an answer, and reads reports. `gateways.registry` finds every adapter in this folder at start.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import parse_qsl

from app.domain.outcomes import DeliveryReport, Outcome, Reports
from app.transport import HttpAnswer

FieldKind = Literal["text", "secret", "url", "int", "bool", "choice", "originator", "json"]


@dataclass(frozen=True)
class Field:
    """One setting of a gateway: the form, its validation, encryption and the docs are drawn from it.

    A `secret` value is encrypted at rest and never sent back to a browser; `write_only` makes one of any
    other kind (headers with a key in them). `kind="json"` holds a JSON object as text (headers, a
    template, a map of words). `choices` are (value, label) pairs. A `bool` is "true" or "false".
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

    @property
    def secret(self) -> bool:
        return self.write_only or self.kind == "secret"


@dataclass(frozen=True)
class Capabilities:
    """What a gateway can do; the core and the UI read these, never the class."""

    reports: Literal["callback", "poll", "both", "none"] = "callback"
    per_message_callback: bool = False  # False: the admin pastes the report URL into the gateway's console
    signed_callback: bool = False
    idempotent: bool = False  # a second submission with the same reference is dropped by the gateway
    lookup: bool = False  # `look_up` can tell whether a reference was taken
    balance: bool = False
    originators: bool = False  # `originators` can list what the account may send from
    poll_after_s: float = 600.0  # pause before the first `poll` of a message; the core then waits longer
    poll_max: int = 50  # ids in one call of `poll`


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


@dataclass(frozen=True)
class InboundHttp:
    """A call of a gateway at its report URL. `url` is the public one, as the gateway called it."""

    method: str
    url: str
    query: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    reference: str = ""  # the last path segment of the report URL, where a gateway echoes nothing else

    @cached_property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", errors="replace"), keep_blank_values=True))

    @cached_property
    def args(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @cached_property
    def json(self) -> Any:
        """The parsed body; raises ValueError when it is not JSON."""
        try:
            return jsonlib.loads(self.body)
        except RecursionError:
            raise ValueError("JSON nested too deeply") from None


class ReportRejected(Exception):
    """A report whose signature or shape proves that it is not the gateway's: answered 403."""


@dataclass(frozen=True)
class CheckResult:
    """The answer to "Save and check": `text` says what is wrong and what to do, or the good news."""

    ok: bool
    text: str
    balance: str = ""


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
    """What an adapter may use of the world outside: HTTP, and nothing else."""

    http: Http


class SettingsInvalid(Exception):
    """Settings that cannot work. `errors` maps a field's name to a sentence for its form."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


class Gateway:
    """Base of all adapters. Subclasses set the class data and write `submit` and `parse_reports`."""

    slug: ClassVar[str]  # in URLs and rows: never changes
    title: ClassVar[str]
    docs_url: ClassVar[str] = ""
    capabilities: ClassVar[Capabilities] = Capabilities()
    fields: ClassVar[tuple[Field, ...]] = ()
    # The gateway's codes in plain words for an admin: what it means, what to do.
    explanations: ClassVar[Mapping[str, str]] = {}

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

    def submit(self, message: Outgoing) -> Outcome:
        """Hand one message over. An exception other than `NotSent` counts as `Unknown`."""
        raise NotImplementedError

    def parse_reports(self, request: InboundHttp) -> Reports:
        """Read a call at the report URL; pure. Junk may raise ValueError or KeyError: answered 400.

        Raises:
            ReportRejected: the signature is missing or wrong: 403.
        """
        raise NotImplementedError

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        """Whether the gateway took `reference`; None when it cannot tell. Needs `lookup`."""
        return None

    def poll(self, ids: Sequence[str]) -> list[DeliveryReport]:
        """Reports fetched by the gateway's own ids; for gateways that do not call us."""
        return []

    def originators(self) -> list[str]:
        """What the account may send from, for the settings form; raises TransportError."""
        return []

    def check(self) -> CheckResult:
        """A cheap authenticated call that costs no message; for "Save and check"."""
        return CheckResult(ok=True, text="Saved. This gateway has nothing to check; send a test SMS.")

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        """Checks that one field alone cannot express.

        Raises:
            SettingsInvalid: naming the fields.
        """


@dataclass(frozen=True)
class Registry:
    """All adapters by slug."""

    adapters: Mapping[str, type[Gateway]] = field(default_factory=dict)

    def get(self, slug: str) -> type[Gateway] | None:
        return self.adapters.get(slug)
