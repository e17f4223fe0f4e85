"""One message in plain words: how it stands, why, and every step of its way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.bitrix.cards import Card, CardKind
from app.domain.messages import Author, Message, Reason, TimelineEntry, Work
from app.domain.numbers import NumberRefused, lacks_country, parse_recipient
from app.domain.outcomes import is_of_no_call
from app.domain.portals import PortalSettings
from app.domain.status import MessageStatus
from app.web.admin.words.language import gettext as _
from app.web.admin.words.language import number
from app.web.admin.words.troubles import Trouble
from app.words.catalogues import N_

STATUS_LABELS = {
    MessageStatus.QUEUED: N_("Waiting"),
    MessageStatus.SENT: N_("Sent"),
    MessageStatus.DELIVERED: N_("Delivered"),
    MessageStatus.UNDELIVERED: N_("Not delivered"),
    MessageStatus.FAILED: N_("Failed"),
    MessageStatus.UNKNOWN: N_("Outcome unknown"),
}
_TONES = {
    MessageStatus.QUEUED: "wait",
    MessageStatus.SENT: "sent",
    MessageStatus.DELIVERED: "ok",
    MessageStatus.UNDELIVERED: "bad",
    MessageStatus.FAILED: "bad",
    MessageStatus.UNKNOWN: "wait",
}


def status_label(status: MessageStatus) -> str:
    return _(STATUS_LABELS[status])


def status_tone(status: MessageStatus) -> str:
    return _TONES[status]


def summary(message: Message) -> str:
    """What a person wants to know first, in one sentence."""
    match message.status:
        case MessageStatus.DELIVERED:
            return _("The message is on the recipient’s phone.")
        case MessageStatus.SENT if message.work is Work.CLOSED:
            return _("The gateway took the message and never said whether it arrived.")
        case MessageStatus.SENT:
            return _("The gateway took the message. Its delivery report has not come yet.")
        case MessageStatus.QUEUED if message.work is Work.HELD:
            return _("The message waits until it is confirmed that it comes from your Bitrix24.")
        case MessageStatus.QUEUED if message.work is Work.SUBMITTING:
            return _("The message is being handed to the gateway.")
        case MessageStatus.QUEUED:
            return _("The message waits to be handed to the gateway.")
        case MessageStatus.UNKNOWN:
            return _("It is not known whether the gateway took the message.")
    return _("The message did not reach the recipient’s phone.")


def reason_text(message: Message) -> Trouble | None:
    """Why a message waits or ended: what happened, what it means, what to do. None: no need to say."""
    try:
        reason = Reason(message.reason)
    except ValueError:  # written by a newer release
        return Trouble(_("There is a reason that this version does not know"), "", "")
    if reason is Reason.BAD_NUMBER and lacks_country(message.recipient):
        return _without_country()
    if reason is Reason.ACCOUNT_STOPPED and is_of_no_call(message.reason_text):
        reason = Reason.NOT_REACHED
    if reason is Reason.NOT_REACHED and message.status.is_final:
        return _never_reached()
    return _REASONS[reason]() if reason in _REASONS else None


def words_with(message: Message) -> str:
    """What came with the reason and says more: somebody else's words, or what held an old message up."""
    if message.reason == Reason.EXPIRED:
        return title_of_reason(message.reason_text) if message.reason_text else ""
    if message.reason == Reason.BAD_NUMBER:
        read = parse_recipient(message.recipient, default_country=None)
        if lacks_country(message.recipient) or not isinstance(read, NumberRefused):
            return ""  # said already
        return number_refused(read)
    return message.reason_text


def _without_country() -> Trouble:
    return Trouble(
        _("The phone number has no country code"),
        _("Nobody can tell which country it is of. Nothing was sent and nothing was charged."),
        _("Choose the country of such numbers in the settings, then send it again."),
    )


def _never_reached() -> Trouble:
    return Trouble(
        _("The gateway could not be reached"),
        _("Every attempt to reach the gateway failed, so the message was definitely not sent."),
        _("Check the gateway’s address on the page “Gateway”. When it works, send the message again."),
    )


_REASONS = {
    Reason.NO_GATEWAY: lambda: Trouble(
        _("No gateway is connected"),
        _("The message is kept and is sent as soon as there is one, unless it expires."),
        _("Connect a gateway on the page “Gateway”."),
    ),
    Reason.ACCOUNT_STOPPED: lambda: Trouble(
        _("The gateway refuses your account"),
        _("The key is wrong or the balance is used up. The message is kept and is sent once this is fixed."),
        _("Open the page “Gateway”, correct what it reports, and press “Save and check”."),
    ),
    Reason.PAUSED: lambda: Trouble(
        _("Sending is paused"),
        _("The operator of this app has paused it. The message goes out afterwards, unless it gets too old."),
        _("Ask the operator of this app. Nothing is wrong with the message."),
    ),
    Reason.LATER: lambda: Trouble(
        _("The gateway could not take it yet"),
        _("It was busy or wants fewer messages at a time. It does not have the message."),
        _("No action is needed: the app tries again automatically."),
    ),
    Reason.NOT_REACHED: lambda: Trouble(
        _("The gateway cannot be reached"),
        _("The gateway could not be reached yet. The message is kept and tried again automatically."),
        _("If this lasts, check the gateway’s address on the page “Gateway”."),
    ),
    Reason.EXPIRED: lambda: Trouble(
        _("The message expired"),
        _("It could not be sent within the time your settings allow, so it was not sent at all."),
        _("See what delayed it in the steps below, then send it again if it is still needed."),
    ),
    Reason.BAD_NUMBER: lambda: Trouble(
        _("The phone number cannot receive an SMS"),
        _("Nothing was sent and nothing was charged."),
        _("Correct the number in the CRM item, with + and the country code, and write again from there."),
    ),
    Reason.NO_TEXT: lambda: Trouble(
        _("The message has no text"),
        _("Nothing was sent and nothing was charged."),
        _("Check the template or automation rule that created it: the field it inserts is empty."),
    ),
    Reason.TRIAL: lambda: Trouble(
        _("Test mode: no SMS leaves this app"),
        _("The connected gateway is for trials only, so the message was not sent."),
        _("Connect a real gateway on the page “Gateway”, then write again."),
    ),
    Reason.EXPENSIVE: lambda: Trouble(
        _("Numbers of this kind can be very expensive"),
        _("Nothing was sent and nothing was charged."),
        _("Allow premium, shared-cost and satellite numbers in the settings if you want to write there."),
    ),
    Reason.COUNTRY: lambda: Trouble(
        _("Messages to this country are not allowed"),
        _("Nothing was sent and nothing was charged."),
        _("Allow the country in the settings of this app if you want to write there."),
    ),
    Reason.REFUSED: lambda: Trouble(
        _("The gateway refused the message for good"),
        _("It was not sent. The gateway’s message is below."),
        _("Put right what the gateway complains about, then send it again."),
    ),
    Reason.GAVE_UP: lambda: Trouble(
        _("The gateway refused the message again and again"),
        _("It was definitely not sent: every attempt was rejected."),
        _("Wait until the gateway works again, then send the message again."),
    ),
    Reason.UNKNOWN: lambda: Trouble(
        _("The gateway’s answer never came"),
        _(
            "The message may have been sent, or not. It is not sent again automatically: it could "
            "arrive twice."
        ),
        _("Check your account at the gateway. Send it again only if it is not there."),
    ),
    Reason.NOT_VERIFIED: lambda: Trouble(
        _("The request did not come from your Bitrix24"),
        _(
            "Someone who knows the address of this app tried to send a message in your name. Nothing "
            "was sent."
        ),
        _("If you see more of these, tell the operator of this app."),
    ),
    Reason.UNINSTALLED: lambda: Trouble(
        _("The app was removed from the portal"),
        _("Messages that had not been sent by then will not be sent."),
        _("Write the message again in Bitrix24 if it is still needed."),
    ),
    Reason.CANCELLED: lambda: Trouble(
        _("An administrator cancelled the message"),
        _("It had not been sent by then. Nothing was charged."),
        _("Send it again if it is still of use."),
    ),
    Reason.ERASED: lambda: Trouble(
        _("Its phone number was erased on request"),
        _("It had not been sent by then and will not be sent."),
        _("No action is needed."),
    ),
    Reason.REPORTED: lambda: Trouble(
        _("The gateway reported that it did not arrive"),
        _("The phone may be off for long, out of reach, or the operator blocked the message."),
        _("The gateway’s message is below. Try again later, or contact the person another way."),
    ),
    Reason.NO_REPORT: lambda: Trouble(
        _("No delivery report came"),
        _("The gateway took the message. Most likely it arrived, but nobody confirmed it."),
        _("If this happens often, check on the page “Gateway” whether reports reach us."),
    ),
    Reason.DEAD_LETTER: lambda: Trouble(
        _("We could not process this message"),
        _("It failed repeatedly because of an error in this app. It was not sent."),
        _("Tell the operator of this app, then send it again."),
    ),
    Reason.DEAD_ENDED: lambda: Trouble(
        _("We could not process this message"),
        _("It failed repeatedly because of an error in this app. It was not sent."),
        _("The operator of this app knows of it. Send it again if it is still of use."),
    ),
}


def number_refused(number: NumberRefused) -> str:
    """Why no SMS can be sent to it."""
    match number.code:
        case "empty":
            return _("There is no phone number.")
        case "several":
            return _("There are several phone numbers in one field, and one message goes to one number.")
        case "letters":
            return _("The phone number has letters in it.")
        case "too_short":
            return _("The phone number is too short: only full numbers can get an SMS.")
        case "too_long":
            return _("The phone number is too long.")
    return _("No country has a phone number like this. Write it with + and the country code.")


# --- what Bitrix24 knows of it


def telling(message: Message, *, can_be_told: bool) -> Trouble | None:
    """Why the portal does not show yet what we know; None while all is well."""
    if message.origin != "portal":
        return None
    means = _("The SMS itself is not affected, but the CRM still shows an older status.")
    if message.push_due_at is not None and not can_be_told:
        return Trouble(
            _("Bitrix24 is not accepting statuses from this app at the moment"),
            means,
            _("The page “Overview” says what to do. After that the status is sent automatically."),
        )
    if message.push_due_at is not None and message.push_tries:
        return Trouble(
            _("Bitrix24 does not have the status yet"),
            means,
            _("No action is needed: the app tries again automatically for two weeks."),
        )
    if message.push_due_at is None and message.status.is_final and message.told is not message.status:
        return Trouble(
            _("Bitrix24 did not get the status"),
            _("It no longer knows the message, or the app was removed. The SMS is not affected."),
            "",
        )
    return None


def visible(character: str | None) -> str:
    """A character of a text as a person can see it; empty for none."""
    if character is None:
        return ""
    return character if character.isprintable() else f"U+{ord(character):04X}"


def retention_note(settings: PortalSettings) -> str:
    """How long messages are kept."""
    return _(
        "Texts are kept for %(text_days)s days and messages for %(row_days)s; the settings say so.",
        text_days=number(settings.text_days),
        row_days=number(settings.row_days),
    )


_AUTHORS = {
    Author.PERSON: N_("Employee"),
    Author.ROBOT: N_("Automation rule or workflow"),
    Author.MARKETING: N_("Marketing"),
    Author.AUTOMATIC: N_("Automatic"),
    Author.TEST: N_("Test from this app"),
}


def author_label(author: Author) -> str:
    """Who or what sent a message; names are never stored."""
    return _(_AUTHORS[author])


def card_label(card: Card) -> str:
    """A card of the CRM by its kind and number."""
    match card.kind:
        case CardKind.LEAD:
            return _("Lead %(number)s", number=card.number)
        case CardKind.DEAL:
            return _("Deal %(number)s", number=card.number)
        case CardKind.CONTACT:
            return _("Contact %(number)s", number=card.number)
        case CardKind.COMPANY:
            return _("Company %(number)s", number=card.number)
        case CardKind.ESTIMATE:
            return _("Estimate %(number)s", number=card.number)
        case CardKind.INVOICE:
            return _("Invoice %(number)s", number=card.number)
    return _("Item %(number)s", number=card.number)


# --- the steps


@dataclass(frozen=True)
class Step:
    at: datetime
    tone: str
    title: str
    detail: str = ""
    words: str = ""  # somebody else's, shown as they came


def steps(entries: list[TimelineEntry]) -> list[Step]:
    """Everything that happened, oldest first."""
    return [_step(entry) for entry in entries]


def _step(entry: TimelineEntry) -> Step:
    at, detail = entry.at, entry.detail
    match entry.event:
        case "received":
            return Step(at, "", _("Received"))
        case "verified":
            return Step(at, "", _("Confirmed: it comes from your Bitrix24"))
        case "submitting":
            again = detail.startswith("again")
            title = _("Handed to the gateway once more") if again else _("Handed to the gateway")
            return Step(at, "", title, words=detail.removeprefix("again as "))
        case "accepted" if detail == "late answer":
            return Step(at, "sent", _("The gateway’s answer came late"))
        case "accepted":
            return Step(at, "sent", _("Taken by the gateway"), _("Its own ID:") if detail else "", detail)
        case "refused":
            return Step(at, "bad", _("Refused by the gateway"), words=detail)
        case "not_reached":
            return Step(at, "wait", _("The gateway was not reached"), words=detail)
        case "unknown":
            return Step(at, "wait", _("No clear answer from the gateway"), words=detail)
        case "given_back":
            return Step(at, "", _("Returned to the queue before it was handed over"))
        case "never_taken":
            return Step(at, "wait", _("The gateway does not have it after all"), words=detail)
        case "dead_ended":
            return Step(at, "", _("Closed by the operator of this app"))
        case "dead_letter":
            return Step(at, "bad", _("Set aside after an error in this app"), words=detail)
        case "report":
            return _report(at, detail)
        case "report_not_understood":
            return Step(at, "wait", _("A report came whose word is not known"), words=detail)
        case "no_report":
            return Step(at, "wait", _("No report came in time"))
        case "resolved":
            return Step(at, "", _("An administrator entered the outcome: %(status)s", status=_word(detail)))
        case "resend":
            return Step(
                at, "", _("An administrator sent it again"), _("Together with others.") if detail else ""
            )
        case "erased":
            return Step(at, "", _("Number and text were erased on request"))
        case "ended":
            return Step(at, "bad", _("Ended without being sent"), title_of_reason(detail))
        case "told":
            return Step(at, "", _("Bitrix24 now shows: %(status)s", status=_word(detail)))
        case "not_told":
            return Step(at, "wait", _("Bitrix24 did not accept the status"), words=detail)
    return Step(at, "", entry.event, words=detail)


def _report(at: datetime, detail: str) -> Step:
    word, _colon, words = detail.partition(": ")
    try:
        tone = status_tone(MessageStatus(word))
    except ValueError:
        tone = ""
    return Step(at, tone, _("The gateway reports: %(status)s", status=_word(word)), words=words)


def _word(word: str) -> str:
    try:
        return status_label(MessageStatus(word))
    except ValueError:
        return word


def title_of_reason(reason: str) -> str:
    """A reason in few words, for lists."""
    try:
        return _REASONS[Reason(reason)]().title
    except (ValueError, KeyError):
        return reason or _("No reason is known")
