"""One deed for many messages in plain words: what it does, how far it is, what came of it and why."""

from __future__ import annotations

from app.domain.bulk import CHANGED, DONE, TWICE, BulkState, Deed
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import Trouble
from app.words.catalogues import N_

_DEEDS = {
    Deed.AGAIN: N_("Send again"),
    Deed.ARRIVED: N_("Mark as arrived"),
    Deed.NOT_SENT: N_("Mark as not sent"),
    Deed.CANCEL: N_("Do not send"),
    Deed.EXPORT: N_("Export as CSV"),
}
_WILL_BE = {
    Deed.AGAIN: N_("Will be sent again"),
    Deed.ARRIVED: N_("Will be marked as arrived"),
    Deed.NOT_SENT: N_("Will be marked as not sent"),
    Deed.CANCEL: N_("Will not be sent any more"),
    Deed.EXPORT: N_("Will be written into the file"),
}
_WAS = {
    Deed.AGAIN: N_("Sent again"),
    Deed.ARRIVED: N_("Marked as arrived"),
    Deed.NOT_SENT: N_("Marked as not sent"),
    Deed.CANCEL: N_("Cancelled"),
    Deed.EXPORT: N_("Written into the file"),
}
_STATES = {
    BulkState.COUNTING: (N_("Counting"), "wait"),
    BulkState.ASKED: (N_("Not started"), ""),
    BulkState.WAITING: (N_("Waits for its turn"), "wait"),
    BulkState.RUNNING: (N_("Running"), "sent"),
    BulkState.DONE: (N_("Done"), "ok"),
    BulkState.STOPPED: (N_("Stopped"), "wait"),
    BulkState.FAILED: (N_("Broken off"), "bad"),
    BulkState.FULL: (N_("The file is full"), "wait"),
    BulkState.ERASED: (N_("File removed"), "wait"),
}
# Why a message may arrive twice, or why nothing can be done to it.
_WHY = {
    "delivered": N_("It was delivered"),
    "no_report": N_("The gateway took it, and no report came"),
    "waiting": N_("The gateway took it, and its report may still come"),
    "unknown": N_("It is not known whether the gateway took it"),
    "on_its_way": N_("It is on its way"),
    "text_removed": N_("Its text was removed after its time"),
    "not_ours": N_("The request did not come from your Bitrix24"),
    "uninstalled": N_("The app was removed from the portal"),
    "bad_number": N_("Its number cannot get an SMS"),
    "not_unknown": N_("Its outcome is not unknown"),
    "with_gateway": N_("The gateway has it already"),
    "over": N_("It is not waiting any more"),
    "not_proved": N_("It waits until it is proved to be from your Bitrix24"),
}


def deed_label(deed: Deed) -> str:
    return _(_DEEDS[deed])


def state_label(state: BulkState) -> str:
    return _(_STATES[state][0])


def state_tone(state: BulkState) -> str:
    return _STATES[state][1]


def verdict_label(deed: Deed, key: str) -> tuple[str, str, str]:
    """What a count of the summary stands for, why, and its tone."""
    answer, _space, why = key.partition(" ")
    reason = _(_WHY[why]) if why in _WHY else why
    if answer == "yes":
        return _(_WILL_BE[deed]), "", "ok"
    if answer == "ask":
        return _("May arrive twice"), reason, "wait"
    return _("Cannot be done"), reason, ""


def outcome_label(deed: Deed, key: str) -> tuple[str, str, str]:
    """What a count of the result stands for, why, and its tone."""
    kind, _space, why = key.partition(" ")
    reason = _(_WHY[why]) if why in _WHY else why
    if kind == DONE:
        return _(_WAS[deed]), "", "ok"
    if kind == TWICE:
        return _("Sent again"), _("It may arrive twice"), "ok"
    if kind == CHANGED:
        return _("Left as it is"), _("It changed, or was removed, after it was counted"), "wait"
    if kind == "left":
        return _("Left out"), reason, "wait"
    return _("Could not be done"), reason, ""


def ending(state: BulkState) -> Trouble | None:
    """What a person should know of a job that did not come to its end."""
    match state:
        case BulkState.STOPPED:
            return Trouble(
                _("It was stopped"),
                _("What had been done by then stays done; the rest is as it was."),
                "",
            )
        case BulkState.FAILED:
            return Trouble(
                _("It broke off through a fault of ours"),
                _("What had been done by then stays done; the rest is as it was."),
                _("Tell the operator of this app, then start it again for the rest."),
            )
        case BulkState.FULL:
            return Trouble(
                _("The file is full"),
                _("It holds the newest messages only."),
                _("Choose a period that ends before the last line of the file, and export the rest."),
            )
        case BulkState.ERASED:
            return Trouble(
                _("The file was removed"),
                _("A phone number was erased on request, and files may hold it."),
                _("Export again: the new file is without it."),
            )
    return None


def nothing_chosen() -> Trouble:
    return Trouble(
        _("No message is selected"),
        _("Nothing was done."),
        _("Select messages in the list, or all that fit the filter."),
    )


def too_many() -> Trouble:
    return Trouble(
        _("Too much is under way already"),
        _("Nothing was done."),
        _("Wait until one of the bulk actions has ended, or stop one."),
    )


def nothing_to_do() -> Trouble:
    return Trouble(
        _("There is nothing to do"),
        _("Of these messages none is fit for it; the table says why."),
        "",
    )


def not_begun() -> Trouble:
    return Trouble(
        _("It was started before"),
        _("A second click starts nothing. See below how far it is."),
        "",
    )


def file_gone() -> Trouble:
    return Trouble(
        _("The file is not there any more"),
        _("Files are kept for some days, and the newest few of a portal at most."),
        _("Export again."),
    )
