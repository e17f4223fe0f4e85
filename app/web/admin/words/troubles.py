"""The words of the pages: what happened, what it means for sending, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from app.actions.test_notice import Told
from app.bitrix.errors import (
    AccessDenied,
    AlreadyBound,
    HandlerRefused,
    MessageNotFound,
    MethodMissing,
    NoRest,
    PaymentRequired,
    PortalBusy,
    PortalGone,
    Refused,
    ScopeMissing,
    SenderExists,
    SenderNotFound,
    ServerConfigError,
    TokenExpired,
    TokenRefused,
    is_known_code,
    oauth_error,
    portal_error,
)
from app.domain.portals import PortalState
from app.services import services
from app.transport import AddressRefused, TransportError
from app.web.admin.words.language import gettext as _

OAUTH_CALL = "oauth.token"  # as the journal names a call of the authorization server


@dataclass(frozen=True)
class Trouble:
    """What happened, what it means, what to do."""

    title: str
    means: str
    todo: str


def system_text(kind: str, detail: str = "") -> Trouble:
    """The page shown instead of the one that was asked for; `detail` is what some of them name."""
    match kind:
        case "outside":
            return Trouble(
                _("Open this app from Bitrix24"),
                _("This address works only inside a Bitrix24 portal, where it learns who you are."),
                _("Go to your Bitrix24, open Applications in the menu on the left, and choose this app."),
            )
        case "incomplete":
            return Trouble(
                _("This page did not load completely"),
                _("A part of it could not be loaded, so its buttons and links do not work."),
                _("Reload the page. If that does not help, close the app and open it again."),
            )
        case "not_admin":
            return Trouble(
                _("This app is for administrators"),
                _("You can send SMS from Bitrix24 as usual; only administrators can set up the app."),
                _(
                    "If you need to see what became of messages, ask %(name)s: the app’s settings can open"
                    " the message log, or each person’s own messages, to employees. Nothing was changed.",
                    name=detail,
                )
                if detail
                else _(
                    "If you need to see the status of messages, ask your administrator: the app’s settings"
                    " can open the message log to every employee. Nothing was changed."
                ),
            )
        case "sessions_ended":
            return Trouble(
                _("All sessions were ended"),
                _("Nobody in your Bitrix24, including you, can use the app without opening it again."),
                _("Close it and open the app again from the menu of your Bitrix24."),
            )
        case "refused":
            return Trouble(
                _("This page could not be opened"),
                _("Bitrix24 did not confirm who is opening it. Nothing was changed."),
                _("Close it and open the app again from the menu of your Bitrix24."),
            )
        case "no_answer":
            return Trouble(
                _("Bitrix24 did not answer, try again"),
                _("We could not check who is opening this page. Messages that wait are kept and are sent."),
                _("Open the app again in a minute."),
            )
        case "not_reached":
            return Trouble(
                _("Your Bitrix24 could not be reached"),
                _("We could not check who is opening this page: %(why)s.", why=detail),
                _("Ask the people who run your Bitrix24 server to fix this, then open the app again."),
            )
        case "not_listed":
            return Trouble(
                _("This server may not call the address of your Bitrix24"),
                _("It is private, without TLS or on an unusual port, as self-hosted ones are at times."),
                _("Tell the operator of this app: add %(entry)s to PRIVATE_HOSTS.", entry=detail),
            )
        case "unknown_server":
            return Trouble(
                _("This Bitrix24 has an authorization server of its own"),
                _("This app is not set up to trust it, so nobody can open the app and nothing was changed."),
                _("Tell the operator of this app: add the server to B24_OAUTH_SERVERS."),
            )
        case "plan":
            return Trouble(
                _("Your Bitrix24 does not let the app work at the moment"),
                _("Its plan has no applications, or the paid period of this app is over."),
                _("Renew the plan or the subscription in Bitrix24, then open the app again."),
            )
        case "busy":
            return Trouble(
                _("The server is busy"),
                _("Many people are opening pages at this moment. Messages are not affected."),
                _("Try again in a few seconds."),
            )
        case "store":
            return Trouble(
                _("The server cannot reach its database"),
                _("New messages from Bitrix24 are kept on its disk and go out afterwards.")
                if services().config.spool_dir
                else _("Until it can, new messages from Bitrix24 are not taken."),
                _("Try again in a minute. If this continues, tell the operator of this app."),
            )
        case "not_found":
            return Trouble(
                _("There is no such page"),
                _("It may have been removed, or it belongs to another portal."),
                _("Go back to the overview."),
            )
        case "too_long":
            return Trouble(
                _("That was too much data"),
                _("The form is longer than this page accepts. Nothing was changed."),
                _("Shorten it and try again."),
            )
    return Trouble(
        _("Something went wrong on our side"),
        _("The error was written down. Messages that were accepted are not lost."),
        _("Try again. If it happens again, tell the operator of this app."),
    )


def registration_trouble(error: Exception) -> Trouble:
    """Why the sender could not be registered in the portal."""
    match error:
        case AddressRefused():
            return system_text("not_listed", "portal:HOST:PORT")
        case TransportError() | PortalBusy():
            return Trouble(
                _("Bitrix24 did not answer"),
                _("The sender may be missing from the list of SMS providers until this succeeds."),
                _("Wait a minute and try again."),
            )
        case ScopeMissing():
            return Trouble(
                _("The app lacks the right to register SMS providers"),
                _("Bitrix24 did not grant it “messageservice”, so no message can be sent through it."),
                _("Remove the app, install it again and accept all rights it asks for."),
            )
        case AccessDenied() | TokenRefused():
            return Trouble(
                _("Bitrix24 refused your rights"),
                _("Only an administrator may register an SMS provider; the list was not changed."),
                _("Open the app as an administrator of the portal and try again."),
            )
        case PaymentRequired() | NoRest():
            return system_text("plan")
        case PortalGone():
            return Trouble(
                _("Bitrix24 says that the app is not installed"),
                _("Messages cannot be sent through it until it is installed again."),
                _("Install the app again from the Bitrix24 Market."),
            )
        case HandlerRefused():
            return Trouble(
                _("Bitrix24 does not accept the address of this app"),
                _("The sender cannot be registered, so no message can be sent through it."),
                _("Tell the operator of this app: PUBLIC_URL must be an address that Bitrix24 can call."),
            )
        case MethodMissing():
            return Trouble(
                _("Your Bitrix24 is too old for SMS providers"),
                _("It lacks the functions for registering a provider."),
                _("Update your Bitrix24, then try again."),
            )
        case ServerConfigError():
            return Trouble(
                _("Bitrix24 does not accept this app’s own keys"),
                _("Nothing can be registered until its server is set up correctly."),
                _("Tell the operator of this app: the client id or key is wrong."),
            )
    return Trouble(
        _("Bitrix24 refused to register the sender"),
        _("The sender may be missing from the list of SMS providers. It said: %(words)s", words=error),
        _("Try again. If it happens again, tell the operator of this app."),
    )


def notice_trouble(told: Told) -> Trouble:
    """Why a test notice did not get through."""
    match told:
        case Told.NO_SCOPE:
            return Trouble(
                _("The app may not write notices in your Bitrix24"),
                _("Bitrix24 did not grant it “im”, so people only see problems here in the app."),
                _("Remove the app, install it again and accept all permissions it asks for."),
            )
        case Told.REFUSED:
            return Trouble(
                _("Bitrix24 refused the notice"),
                _("You would not be told of problems. Messages are not affected."),
                _("Check in Bitrix24 that you may use the messenger, then try again."),
            )
    return Trouble(
        _("Bitrix24 did not answer"),
        _("The test notice was not sent. Messages are not affected."),
        _("Wait a minute and try again."),
    )


def compare_trouble(error: Exception) -> Trouble:
    """Why nobody knows at this moment how the senders stand in the portal."""
    if isinstance(error, TransportError | PortalBusy):
        return Trouble(
            _("Bitrix24 could not be asked"),
            _("The list shows what is saved here; whether Bitrix24 has the same is not known now."),
            _("Wait a minute and open this page again."),
        )
    return registration_trouble(error)


def rest_error_text(method: str, said: str) -> str:
    """One error of the journal of calls: what it means, and whether somebody has to act."""
    code = said.partition(",")[0].strip()  # a batch may have several
    error = oauth_error(code, "") if method == OAUTH_CALL else portal_error(code, "")
    if not error.is_known and not is_known_code(code):
        return _("Bitrix24 gave an answer that this app does not know. Send the report below to support.")
    match error:
        case TokenExpired():
            return _("The access had run out and was renewed.")
        case SenderExists() | SenderNotFound() | AlreadyBound() | MethodMissing():
            return _("Bitrix24 was not in the expected state; the app adjusted automatically.")
        case MessageNotFound():
            return _("Bitrix24 did not know the message, or not yet. It is asked again for ten minutes.")
        case AccessDenied() | TokenRefused():
            return _("Bitrix24 refused an administrator’s rights. Another one’s are tried.")
        case ScopeMissing():
            return _("A right is missing that this call needs. Install the app again to grant all rights.")
        case PaymentRequired() | NoRest():
            return _("The plan or the subscription does not allow it.")
        case PortalGone():
            return _("Bitrix24 said that the app is not installed, or that the portal is closed.")
        case HandlerRefused() | ServerConfigError():
            return _("Bitrix24 does not accept how this app is set up. Tell the operator of this app.")
        case Refused() if error.is_known:
            return _("Bitrix24 refused the call for good. If messages are affected, send the report below.")
    return _("Bitrix24 did not answer or was busy. The app tries again automatically.")


def portal_trouble(state: PortalState) -> Trouble:
    """What is wrong with the installation as a whole, where it does not stand well."""
    match state:
        case PortalState.NEW:
            return Trouble(
                _("The sender is not registered in Bitrix24 yet"),
                _("Until it is, nobody can choose this app to send an SMS."),
                _("Press “Try again”."),
            )
        case PortalState.RECONNECT:
            return Trouble(
                _("Bitrix24 no longer accepts our access"),
                _("Messages still go out, but their statuses wait until the access works again."),
                _("Press “Try again”; your own rights as an administrator are used from now on."),
            )
        case PortalState.PAYMENT:
            return Trouble(
                _("The paid period of this app is over"),
                _("Messages still go out, but Bitrix24 takes no statuses until the subscription is renewed."),
                _("Renew the subscription in Bitrix24, then press “Try again”."),
            )
        case PortalState.NO_REST:
            return Trouble(
                _("The plan of your Bitrix24 has no applications"),
                _("Messages still go out, but Bitrix24 takes no statuses until the plan allows it."),
                _("Change the plan in Bitrix24, then press “Try again”."),
            )
    return Trouble(
        _("Your Bitrix24 says that the app is not there"),
        _("Messages from Bitrix24 are still sent, but their statuses cannot be shown there."),
        _("Press “Try again”. If that does not help, install the app again from the Market."),
    )


def ended_text() -> Trouble:
    """The banner when the session could not be renewed."""
    return Trouble(
        _("The session has ended"),
        _("Nothing can be shown or saved now. Messages are not affected."),
        _("Reload the page; what you typed is lost unless you copy it first."),
    )


def broken_text() -> Trouble:
    """The banner when the server did not answer as it should."""
    return Trouble(
        _("The server did not answer"),
        _("What you see may be out of date, and the last thing you did may not have been done."),
        _("Wait a moment and try again."),
    )
