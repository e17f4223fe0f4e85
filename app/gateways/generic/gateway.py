"""The engine: a plan and an account's values in, calls out, answers and reports back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import phonenumbers

from app.domain.latin import in_latin
from app.domain.outcomes import (
    Accepted,
    Balance,
    DeliveryReport,
    Outcome,
    RefusalKind,
    Refused,
    Reports,
    Unknown,
)
from app.domain.sentences import N_
from app.domain.texts import measure
from app.gateways.answers import QuestionRefused, refusal, word_at
from app.gateways.base import Capabilities, CheckResult, Gateway, GatewayCall, Outgoing, Submitted
from app.gateways.generic.content import items_at, value_of
from app.gateways.generic.plan import Plan
from app.gateways.generic.reading import outcome_of_answer
from app.gateways.generic.reports import polled_report, read_reports
from app.gateways.generic.signatures import check_address, check_report
from app.gateways.generic.templates import FILTERS, fill, fill_leaves, flat
from app.transport import HttpAnswer, TransportError

_POLL_TIMEOUT_S = 4.0  # several of these within one lease
# What templates may say beside the account's own settings.
MESSAGE_VALUES = frozenset(
    {
        *("to", "to_digits", "to_e164", "text", "from", "reference", "report_url", "segments", "validity_s"),
        *("encoding", "coding", "id", "hook_url", "hook_id"),
    }
)


class GenericGateway(Gateway):
    """A gateway whose requests, answers and reports are described by `plan`.

    A request has a prefix in the plan: none for the submission, `check_`, `poll_` and `lookup_` for the
    questions; `url`, `method`, `body` and `template` follow it.
    """

    @cached_property
    def plan(self) -> Plan:
        raise NotImplementedError

    @property
    def active_capabilities(self) -> Capabilities:
        """The plan decides what this gateway can do."""
        can = capabilities_of(self.plan)
        if can.signed_callback and not self._report_secret and self.plan.flag("report_check_optional"):
            can = replace(can, signed_callback=False)
        return can

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        spelt = self._spelt(message)
        try:
            answer = self._call("", self._message_values(spelt), is_ucs2=spelt.encoding == "ucs2")
        except UnicodeEncodeError:
            text = N_("The text has a character that the gateway's charset does not have.")
            return Refused(RefusalKind.PERMANENT, "charset", text)
        outcome = outcome_of_answer(self.plan, answer)
        if isinstance(outcome, Accepted) and outcome.segments is None and spelt is not message:
            return replace(outcome, segments=spelt.segments)
        return outcome

    def _spelt(self, message: Outgoing) -> Outgoing:
        """The message in the letters in which it is sent; the log keeps what was written."""
        if self.plan.text("text_transform") != "latin":
            return message
        text = in_latin(message.text)
        size = measure(text)
        return replace(message, text=text, encoding=size.encoding, segments=size.segments)

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        """Taken when the gateway shows the reference, not taken when it answers 404, else unknown."""
        if not self.plan.text("lookup_url"):
            return None
        answer = self._call("lookup_", {"reference": reference, **self._recipient_values(recipient)})
        if answer.status == 404:
            return Refused(RefusalKind.TEMPORARY, "not_found", "The gateway does not have this message.")
        path = self.plan.text("lookup_id_path") or self.plan.text("id_path") or "id"
        found = word_at(value_of(answer.body, answer.header("content-type")), path)
        return Accepted((found,)) if answer.ok and found else None

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        if not self.plan.text("poll_url"):
            return []
        asked = ((part, self._poll(part)) for part in sent)
        found = (
            polled_report(self.plan, value_of(answer.body, answer.header("content-type")), *_names(part))
            for part, answer in asked
            if answer.ok
        )
        return [report for report in found if report is not None]

    def _poll(self, part: Submitted) -> HttpAnswer:
        values = {
            "id": part.gateway_message_id,
            "reference": part.reference,
            **self._recipient_values(part.recipient),
        }
        return self._call("poll_", values, timeout_s=_POLL_TIMEOUT_S)

    def check(self) -> CheckResult:
        try:
            if not self.plan.text("check_url"):
                return self._check_address()
            value = self._ask_account()
        except TransportError as error:
            return CheckResult.unreachable(error)
        except QuestionRefused as error:
            return CheckResult.refused(error)
        balance = self._balance_in(value)
        text = N_("The gateway answers and accepts the sign-in.")
        return CheckResult(ok=True, text=text, balance="" if balance is None else str(balance))

    def balance(self) -> Balance | None:
        if not self.active_capabilities.balance:
            return None
        return self._balance_in(self._ask_account())

    def _ask_account(self) -> Any:
        value = self._ask("check_", {})
        path, wanted = self.plan.text("check_path"), self.plan.words("check_values")
        if path and word_at(value, path).casefold() not in [one.casefold() for one in wanted]:
            raise QuestionRefused(Unknown(f"The answer has {word_at(value, path) or 'nothing'} at {path!r}."))
        return value

    def _balance_in(self, value: Any) -> Balance | None:
        path = self.plan.text("balance_path")
        if not path:
            return None
        amount, inner = _amount_and_currency(word_at(value, path))
        named = self.plan.text("balance_currency_path")
        currency = word_at(value, named) if named else self.plan.text("balance_currency")
        found = Balance.read(amount, currency or inner)
        divisor = Decimal(self.plan.text("balance_divisor", "1"))
        return found if found is None else replace(found, amount=found.amount / divisor)

    def _check_address(self) -> CheckResult:
        """Any answer to a call that asks for nothing and carries no key shows that the server is there."""
        parts = urlsplit(fill(self.plan.text("url"), self._own_values, _quoted))
        self.context.http.request("OPTIONS", f"{parts.scheme}://{parts.netloc}/")
        text = N_(
            "The server answers. Without an address for the check, key and template were not tried: "
            "send a test SMS."
        )
        return CheckResult(ok=True, text=text)

    # --- webhooks at the gateway

    def on_enable(self, report_url: str) -> None:
        if self.plan.text("hook_url") and not self._hooks(report_url):
            self._ask("hook_", {"hook_url": report_url})

    def on_disable(self, report_url: str) -> None:
        for hook_id in self._hooks(report_url) if self.plan.text("unhook_url") else ():
            self._ask("unhook_", {"hook_id": hook_id})

    def _hooks(self, report_url: str) -> list[str]:
        """The ids of what reports to this address."""
        value = self._ask("hooks_", {})
        items = items_at(value, self.plan.text("hooks_items_path"))
        mine = [item for item in items if word_at(item, self.plan.text("hooks_url_path")) == report_url[:200]]
        return [word_at(item, self.plan.text("hooks_id_path")) for item in mine]

    def _ask(self, prefix: str, values: Mapping[str, str]) -> Any:
        """The value of an answer that is not a submission's; raises QuestionRefused."""
        answer = self._call(prefix, values)
        value = value_of(answer.body, answer.header("content-type"))
        if against := refusal(answer, self.plan.errors, value):
            raise QuestionRefused(against)
        return value

    # --- requests

    def _call(
        self,
        prefix: str,
        values: Mapping[str, str],
        *,
        is_ucs2: bool = False,
        timeout_s: float | None = None,
    ) -> HttpAnswer:
        plan, values = self.plan, {**values, **self._own_values}
        charset = plan.text("charset", "utf-8") if not prefix else "utf-8"
        url = fill(plan.text(f"{prefix}url"), values, lambda value: quote(value, safe="", encoding=charset))
        body = plan.text(f"{prefix}body", "query" if prefix else "json")
        name = "ucs2_template" if is_ucs2 and plan.text("ucs2_template") else f"{prefix}template"
        written: dict[str, Any] = {"params": None, "data": None, "json": None}
        headers = self._headers(values)
        if body in ("xml", "raw"):
            escape = FILTERS["xml"] if body == "xml" else str
            text = fill(plan.text(f"{prefix}body_text"), values, escape)
            errors = "xmlcharrefreplace" if body == "xml" else "strict"
            written["data"] = text.encode(charset, errors=errors)
            kind = "application/xml" if body == "xml" else "text/plain"
            headers = {"Content-Type": f"{kind}; charset={charset}", **headers}
        elif fields := fill_leaves(plan.parsed(name), values):
            if body == "json":
                written["json"] = fields
            elif charset != "utf-8" and body == "form":
                written["data"] = _in_charset(flat(fields), charset).encode()
                kind = "application/x-www-form-urlencoded"
                headers = {"Content-Type": f"{kind}; charset={charset}", **headers}
            elif charset != "utf-8":
                url += ("&" if "?" in url else "?") + _in_charset(flat(fields), charset)
            else:
                written["data" if body == "form" else "params"] = flat(fields)
        if plan.text("auth") == "query":
            named = urlencode({plan.text("auth_name", "key"): fill(self._auth_secret, values)})
            url += ("&" if "?" in url else "?") + named
        return self.context.http.request(
            plan.text(f"{prefix}method", "GET" if prefix else "POST"),
            url,
            headers=headers,
            auth=self._basic(values),
            timeout_s=timeout_s or _seconds(plan.text("timeout_s")),
            **written,
        )

    @property
    def _auth_secret(self) -> str:
        return self.plan.text("auth_secret", "{secret}")

    def _basic(self, values: Mapping[str, str]) -> tuple[str, str] | None:
        if self.plan.text("auth") != "basic":
            return None
        return fill(self.plan.text("auth_user", "{user}"), values), fill(self._auth_secret, values)

    def _headers(self, values: Mapping[str, str]) -> dict[str, str]:
        given = self.plan.object("headers")
        headers = {
            name: filled for name, value in given.items() if (filled := fill(value, values)) or not value
        }
        secret = fill(self._auth_secret, values)
        match self.plan.text("auth"):
            case "bearer":
                headers.setdefault("Authorization", f"Bearer {secret}")
            case "header":
                headers.setdefault(self.plan.text("auth_name", "Authorization"), secret)
        return headers

    @cached_property
    def _own_values(self) -> dict[str, str]:
        """The account's own values by the names of its settings."""
        return {name: value for name, value in self.settings.items() if isinstance(value, str)}

    def _message_values(self, message: Outgoing) -> dict[str, str]:
        coding = self.plan.object("coding").get(message.encoding, "")
        return {
            **self._recipient_values(message.recipient),
            "text": message.text,
            "from": message.originator or self.originator,
            "reference": message.reference,
            "report_url": message.report_url,
            "segments": str(message.segments),
            "validity_s": str(self._validity_s(message)),
            "encoding": message.encoding,
            "coding": str(coding),
        }

    def _validity_s(self, message: Outgoing) -> int:
        """Within what the gateway takes, where the plan says it."""
        least, most = (_whole(self.plan.text(f"validity_{end}_s")) for end in ("min", "max"))
        return max(least or 0, min(message.validity_s, most or message.validity_s))

    def _recipient_values(self, recipient: str) -> dict[str, str]:
        formatted = format_number(recipient, self.plan.text("number_format", "e164"))
        return {"to": formatted, "to_digits": recipient.removeprefix("+"), "to_e164": recipient}

    # --- reports

    @property
    def _report_secret(self) -> str:
        return fill(self.plan.text("report_secret"), self._own_values)

    def parse_reports(self, request: GatewayCall) -> Reports:
        check_address(self.plan, request)
        check_report(self.plan, request, self._report_secret)
        return self.read_unproved(request)

    def read_unproved(self, request: GatewayCall) -> Reports:
        items = read_reports(self.plan, request)
        return Reports(items, reply_body=self.plan.text("report_reply", "OK"))


def capabilities_of(plan: Plan) -> Capabilities:
    """What a plan can do."""
    by_call, by_poll = bool(plan.text("report_status_path")), bool(plan.text("poll_url"))
    texts = (plan.text(name) for name in ("url", "template", "body_text", "ucs2_template", "headers"))
    return Capabilities(
        reports="both" if by_call and by_poll else "callback" if by_call else "poll" if by_poll else "none",
        per_message_callback=any("{report_url" in text for text in texts),
        signed_callback=plan.text("report_check", "none") not in ("none", ""),
        idempotent=plan.flag("idempotent"),
        lookup=bool(plan.text("lookup_url")),
        balance=bool(plan.text("check_url") and plan.text("balance_path")),
        webhooks=bool(plan.text("hook_url")),
        rate_per_s=float(rate) if (rate := _whole(plan.text("rate"))) else None,
        own_sender=not plan.flag("no_originator"),
        poll_max=5,
    )


def format_number(recipient: str, how: str) -> str:
    """An E.164 number as a gateway wants it: e164, digits, 00 or national."""
    match how:
        case "digits":
            return recipient.removeprefix("+")
        case "00":
            return "00" + recipient.removeprefix("+") if recipient.startswith("+") else recipient
        case "national":
            try:
                return str(phonenumbers.national_significant_number(phonenumbers.parse(recipient)))
            except phonenumbers.NumberParseException:
                return recipient
    return recipient


def _amount_and_currency(text: str) -> tuple[str, str]:
    """`KES 1785.50`, `12.30 EUR` and a bare amount."""
    words = text.split()
    if len(words) != 2:
        return text, ""
    return (words[1], words[0]) if words[0][:1].isalpha() else (words[0], words[1])


def _in_charset(fields: Mapping[str, str], charset: str) -> str:
    """Form fields whose values are in another charset; their names are the gateway's, and plain."""
    quoted = (f"{quote_plus(name)}={quote_plus(value, encoding=charset)}" for name, value in fields.items())
    return "&".join(quoted)


def _names(part: Submitted) -> tuple[str, str]:
    return part.gateway_message_id, part.reference


def _quoted(value: str) -> str:
    return quote(value, safe="")


def _seconds(text: str) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
