"""SMPP 3.4: a contract with an operator or aggregator, over a line that the `smpp` process keeps.

Source: SMPP Protocol Specification v3.4, issue 1.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from app.domain.outcomes import Outcome, RefusalKind, Refused, Reports
from app.gateways import explanations as why
from app.gateways.base import (
    Capabilities,
    CheckResult,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
    ReportRejected,
    SettingsInvalid,
)
from app.gateways.smpp import pdu
from app.gateways.smpp.line import LineSettings
from app.gateways.smpp.lines import try_login
from app.gateways.smpp.pdu import Malformed
from app.gateways.smpp.session import BindRefused, LineLost, Login, NoAnswer, Pace
from app.gateways.smpp.texts import Alphabet, Long
from app.transport import TransportError

_EXPLANATIONS = {
    "0x0A": why.BAD_ORIGINATOR,
    "0x0B": why.BAD_NUMBER,
    "0x33": why.BAD_NUMBER,
    "0x08": why.GATEWAY_FAULT,
    "0x14": why.TOO_FAST,
    "0x58": why.TOO_FAST,
    "REJECTD": why.BLOCKED,
    "UNDELIV": why.UNDELIVERABLE,
    "EXPIRED": why.EXPIRED,
    "DELETED": why.CANCELLED,
}


class Smpp(Gateway):
    """A message goes over the line of its account; where no line is, it is surely not sent."""

    slug = "smpp"
    title = "SMPP 3.4"
    regions = ("*",)
    needs = "Host, port, system id and password of an SMPP contract"
    docs_url = "https://smpp.org/SMPP_v3_4_Issue1_2.pdf"
    capabilities = Capabilities(reports="line", needs_line=True)
    explanations = _EXPLANATIONS
    fields = (
        Field(
            "host",
            "Host",
            help="The message centre's name or address.",
            required=True,
            pattern=r"[A-Za-z0-9._:-]{1,253}",
            example="smpp.example.com",
            names_account=True,
            is_place=True,
        ),
        Field("port", "Port", "int", default="2775", names_account=True, is_place=True),
        Field("tls", "TLS", "bool", default="false", is_place=True),
        Field("system_id", "System id", required=True, pattern=r"[\x20-\x7e]{1,15}", names_account=True),
        Field(
            "password",
            "Password",
            "secret",
            "At most 8 characters: SMPP has room for no more.",
            required=True,
            pattern=r"[\x20-\x7e]{1,8}",
        ),
        Field(
            "originator",
            "Originator",
            "originator",
            "A name of up to 11 characters, a number with +, or a short code.",
            pattern=r"\+?[0-9]{1,20}|.{1,11}",
            example="ACME",
        ),
        Field("system_type", "System type", pattern=r"[\x20-\x7e]{0,12}", advanced=True),
        Field(
            "bind",
            "Bind",
            "choice",
            default="transceiver",
            choices=(
                ("transceiver", "One line for both directions"),
                ("transmitter+receiver", "A line for each direction"),
            ),
            advanced=True,
        ),
        Field("window", "Messages without an answer", "int", default="10", advanced=True),
        Field(
            "rate",
            "Messages a second",
            "int",
            "0: as many as the message centre takes.",
            default="0",
            advanced=True,
        ),
        Field(
            "long_texts",
            "Long texts",
            "choice",
            default="udh",
            choices=(
                ("udh", "Parts with a header (usual)"),
                ("udh16", "Parts with a header, 16-bit reference"),
                ("sar", "Parts with SAR parameters"),
                ("payload", "Whole, as message_payload"),
            ),
            advanced=True,
        ),
        Field(
            "alphabet",
            "Alphabet of data coding 0",
            "choice",
            default="gsm7",
            choices=(("gsm7", "GSM 03.38 (usual)"), ("latin1", "Latin-1"), ("ascii", "ASCII")),
            advanced=True,
        ),
        Field("enquire_s", "Seconds between signs of life", "int", default="30", advanced=True),
        Field("tls_name", "Name in the certificate", help="Empty: the host's.", advanced=True, is_place=True),
    )

    @property
    def active_capabilities(self) -> Capabilities:
        rate = int(self.settings["rate"] or 0)
        return replace(self.capabilities, rate_per_s=float(rate) if rate else None)

    def submit(self, message: Outgoing) -> Outcome:
        if self.context.line is None:
            return Refused(
                RefusalKind.TEMPORARY, "not_bound", "messages of this account go through the smpp process"
            )
        return self.context.line(message)

    def parse_reports(self, request: GatewayCall) -> Reports:
        raise ReportRejected("receipts come over the line")

    def check(self) -> CheckResult:
        """Sign in once and leave. A centre that allows one session may be busy with ours: also a yes."""
        assert self.context.open_socket is not None
        try:
            asyncio.run(try_login(self.context.open_socket, line_settings(self.settings)))
        except BindRefused as refused:
            if refused.status == pdu.RALYBND:
                return CheckResult(True, "The message centre knows this login; it is in use already.")
            return CheckResult(False, "The message centre did not accept the login.", words=str(refused))
        except TransportError as error:
            return CheckResult.unreachable(error)
        except (Malformed, NoAnswer, LineLost, OSError) as error:
            return CheckResult(False, "The message centre gave no complete answer.", why=str(error))
        return CheckResult(True, "The message centre answers and accepts the login.")

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        limits = {"port": (1, 65535), "window": (1, 16), "rate": (0, 1000), "enquire_s": (5, 600)}
        wrong = {
            name: f"A number from {low} to {high}."
            for name, (low, high) in limits.items()
            if not low <= int(settings[name] or low) <= high
        }
        if wrong:
            raise SettingsInvalid(wrong)


def line_settings(settings: Mapping[str, str]) -> LineSettings:
    """The line that an account's settings describe."""
    return LineSettings(
        host=settings["host"],
        port=int(settings["port"]),
        login=Login(settings["system_id"], settings["password"], settings["system_type"]),
        bind="transmitter+receiver" if settings["bind"] == "transmitter+receiver" else "transceiver",
        tls=settings["tls"] == "true",
        tls_name=settings["tls_name"],
        pace=Pace(window=int(settings["window"]), enquire_s=float(settings["enquire_s"])),
        rate_per_s=int(settings["rate"] or 0),
        alphabet=cast(Alphabet, settings["alphabet"]),
        long=cast(Long, settings["long_texts"]),
    )
