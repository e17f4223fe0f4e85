"""The banner above every page: what stands badly at this moment, what it means, what to do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flask import g, url_for
from jinja2 import Undefined

from app.domain.incidents import GatewayCause, IncidentKind, Symptom
from app.domain.outcomes import is_of_no_call
from app.domain.portals import Portal, PortalState
from app.services import services
from app.store.accounts import accounts
from app.store.figures import incidents
from app.web.admin.frame.sessions import Session
from app.web.admin.words import language
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import Trouble, portal_trouble


@dataclass(frozen=True)
class Alert:
    text: Trouble
    tone: str
    url: str
    label: str
    words: str = ""  # the gateway's own
    is_repair: bool = False  # the address is posted to, and tries to mend it


def present(told: Collection[IncidentKind] | Undefined = ()) -> list[Alert]:
    """At most one of a kind, the worst first. `told` are those that the page itself speaks of.

    Read from the rows, so a banner goes with its cause and does not wait for an incident to be over.
    """
    session: Session | None = g.get("session")
    if session is None:
        return []
    found = incidents.present(session.portal.id, now=services().now())
    shown = [_alert(symptom) for symptom in found if symptom.kind not in told]
    return [*_pause(session.portal), *_trial(session.portal.id), *shown]


def _pause(portal: Portal) -> list[Alert]:
    """The operator's own words say why."""
    if not portal.is_paused:
        return []
    text = Trouble(
        _("Sending is paused"),
        _("The operator of this app has paused it. Messages wait, and too old ones end as failed."),
        portal.paused_why or _("Ask the operator of this app."),
    )
    return [Alert(text, "wait", url_for("ui_messages.show_log", status="queued"), _("Waiting messages"))]


def _trial(portal_id: int) -> list[Alert]:
    """Nobody must take a trial for the real thing: every page says so for as long as it is connected."""
    account = accounts.default_of(portal_id)
    adapter = services().gateways.get(account.slug) if account else None
    if adapter is None or adapter.capabilities.sends or services().config.demo_gateway == "full":
        return []
    text = Trouble(
        _("Test mode: no SMS leaves this app"),
        _("You can try everything out here. Messages from your portal fail."),
        _("Connect a real gateway to send."),
    )
    return [Alert(text, "wait", url_for("ui_gateway.choose"), _("Choose a gateway"))]


def _alert(symptom: Symptom) -> Alert:
    match symptom.kind:
        case IncidentKind.PORTAL:
            return Alert(
                portal_trouble(PortalState(symptom.cause)),
                "bad",
                url_for("ui_overview.register_again"),
                _("Try again"),
                is_repair=True,
            )
        case IncidentKind.GATEWAY:
            tone = "wait" if symptom.cause == GatewayCause.SILENT else "bad"
            # What a check says is ours, and is in the text; so is why nobody was called.
            is_ours = symptom.cause == GatewayCause.CHECK or is_of_no_call(symptom.words)
            words = "" if is_ours else symptom.words
            return Alert(
                _gateway_text(symptom), tone, url_for("ui_gateway.show"), _("Open the gateway"), words
            )
        case IncidentKind.BALANCE:
            return Alert(_balance_text(symptom), "wait", url_for("ui_gateway.show"), _("Open the gateway"))
        case IncidentKind.RUSH:
            return Alert(_rush_text(), "wait", url_for("ui_messages.show_log"), _("Messages"))


def _gateway_text(symptom: Symptom) -> Trouble:
    name = text_of(symptom.gateway)
    if symptom.cause == GatewayCause.STOPPED and is_of_no_call(symptom.words):
        return Trouble(
            _("“%(name)s” cannot be called", name=name),
            _("Its address is not one that this server calls. Messages wait, too old ones end as failed."),
            _("Correct the address on the page “Gateway”."),
        )
    match symptom.cause:
        case GatewayCause.STOPPED:
            return Trouble(
                _("“%(name)s” refuses your account", name=name),
                _("Messages wait and are sent as soon as it works again; expired ones fail."),
                _("Correct the access data, or top up the account at the gateway."),
            )
        case GatewayCause.SILENT:
            return Trouble(
                _("“%(name)s” does not answer", name=name),
                _("Messages wait, and from time to time one of them tests whether it works again."),
                _(
                    "No action is needed if it is back soon. If not, check the settings and ask the"
                    " gateway’s support."
                ),
            )
    return Trouble(
        _("The check of “%(name)s” fails", name=name),
        " ".join((text_of(symptom.words), _("Messages may wait or fail until this is fixed."))).strip(),
        _("Open the gateway, correct the settings, and press “Save and check”."),
    )


def _rush_text() -> Trouble:
    return Trouble(
        _("Far more messages than usual"),
        _("More than ten times a usual day’s messages came in the last 24 hours. They are still sent."),
        _(
            "Check who or what sends them. If it is not intended, stop that automation rule or "
            "disconnect the gateway."
        ),
    )


def _balance_text(symptom: Symptom) -> Trouble:
    return Trouble(
        _(
            "The balance at “%(name)s” is low: %(balance)s",
            name=text_of(symptom.gateway),
            balance=language.balance(symptom.balance),
        ),
        _("Messages are still sent. When the balance is used up they will wait."),
        _("Top up your account at the gateway."),
    )
