"""The steps of the set-up. Each is ticked only while it holds: what breaks later is to be done once more."""

from __future__ import annotations

from dataclasses import dataclass, field

from babel.core import get_global
from flask import url_for

from app.domain.portals import Portal, PortalState
from app.domain.status import MessageStatus
from app.services import services
from app.store.accounts.accounts import Account
from app.store.figures import overview
from app.store.messages import log as message_log
from app.store.messages.log import Filters
from app.store.portals.senders import Sender
from app.web.admin.frame.sessions import Session
from app.web.admin.words import language
from app.web.admin.words.language import gettext as _
from app.words.languages import locale_of

# Spoken in so many countries that nothing follows from them.
_OF_MANY_COUNTRIES = ("en", "es", "fr", "ar", "pt", "ru", "de")


@dataclass(frozen=True)
class Step:
    title: str
    text: str
    done: bool
    is_next: bool = False
    url: str = ""
    action: str = ""
    choices: list[tuple[str, str]] = field(default_factory=list)  # of a question that is answered right here
    chosen: str = ""


def is_registered(sender: Sender | None) -> bool:
    return sender is not None and sender.registered_at is not None and not sender.error


def is_trial(account: Account) -> bool:
    """Whether it only tries things out, where nobody said that this instance is for that."""
    adapter = services().gateways.get(account.slug)
    sends = adapter is None or adapter.capabilities.sends
    return not sends and services().config.demo_gateway != "full"


def steps(session: Session, sender: Sender | None, account: Account | None) -> list[Step]:
    portal = session.portal
    registered = is_registered(sender) and portal.state is not PortalState.NEW
    can_send = account is not None and not is_trial(account) and _answers(account)
    knows_country = bool(portal.settings.default_country) or portal.settings.country_asked
    is_broken = account is not None and not is_trial(account) and not can_send
    works = can_send and account is not None and _has_arrived(portal, account)
    is_used = overview.last_received_at(portal.id) is not None
    return [
        Step(
            _("The app is installed"),
            _("Bitrix24 offers it wherever an SMS can be sent: CRM items, automation rules, marketing."),
            registered,
            is_next=not registered,
        ),
        _country(session, done=knows_country),
        Step(
            _("Connect an SMS gateway"),
            _("It is connected, and does not work at the moment: the page “Gateway” says why.")
            if is_broken
            else _("The company that carries your messages. You need the access data of your account there."),
            can_send,
            is_next=registered and not can_send,
            url=url_for("ui_gateway.show"),
            action=_("Open the gateway") if is_broken else _("Connect a gateway"),
        ),
        Step(
            _("Send a test SMS to your own phone"),
            _("Follow every step until it is delivered."),
            works,
            is_next=registered and can_send and not works,
            url=url_for("ui_test.show"),
            action=_("Send a test SMS"),
        ),
        Step(
            _("Write from your CRM"),
            _(
                "Ready: open a contact in Bitrix24, choose “SMS”, then “%(name)s” as the sender.",
                name=services().config.app_name,
            )
            if works
            else _("Your team writes from CRM items; automation rules and marketing use the same sender."),
            is_used,
            is_next=works and not is_used,
        ),
    ]


def _answers(account: Account) -> bool:
    return account.stopped_since is None and (account.check is None or account.check.ok)


def _has_arrived(portal: Portal, account: Account) -> bool:
    """Whether this account has carried a message to its end; where nobody reports, to the gateway."""
    gateway = services().gateway(account)
    reports = gateway is not None and gateway.active_capabilities.reports != "none"
    status = MessageStatus.DELIVERED if reports else MessageStatus.SENT
    mine = Filters(status=status, account_ids=(account.id,))
    return bool(message_log.find(portal.id, mine, limit=1).messages)


def _country(session: Session, *, done: bool) -> Step:
    return Step(
        _("Say which country your phone numbers are of"),
        _("CRM numbers without a country code are treated as numbers of this country."),
        done,
        choices=[
            ("", _("None: numbers must begin with + and the country code")),
            *language.countries(),
        ],
        chosen=home_country(session.language, session.time_zone),
    )


def home_country(spoken: str, time_zone: str) -> str:
    """Where a person most likely is: by their time zone, else by a language of one country; empty for nobody
    knows."""
    zones = get_global("zone_territories")
    country = str(zones.get(time_zone, ""))
    locale = locale_of(spoken)
    if not country and locale not in _OF_MANY_COUNTRIES:
        likely = get_global("likely_subtags")
        country = locale.partition("_")[2] or str(likely.get(locale, "")).rpartition("_")[2]
    known = dict(language.countries())
    return country if country in known else ""
