"""What a portal's state means, in plain words for whoever can mend it: what happened, what happens to
messages meanwhile, what to do. The product's pages have the same in the reader's own language."""

from __future__ import annotations

from app.domain.portals import PortalState

_MEANINGS = {
    PortalState.NEW: (
        "The installation is not finished: the sender or the events are not registered in the portal yet."
        " It is tried again by itself; opening the app as an administrator shows what is in the way."
    ),
    PortalState.ACTIVE: "Everything works.",
    PortalState.RECONNECT: (
        "No administrator's connection works. Messages are still sent; what becomes of them is kept for"
        " 14 days and told afterwards. An administrator of the portal has to open the app once."
    ),
    PortalState.PAYMENT: (
        "The paid period or trial of the app is over, so Bitrix24 hands over no new messages. Those that"
        " we have are still sent, and told about after the payment. Renew the app in Bitrix24."
    ),
    PortalState.NO_REST: (
        "The portal's plan has no REST. Messages that reach us are still sent; what becomes of them is kept"
        " for 14 days. Bitrix24 needs a plan with applications."
    ),
    PortalState.GONE: (
        "Bitrix24 says that the app is not installed in the portal, or that the portal is closed. It is"
        " looked at daily for 30 days; opening the app as an administrator brings it back at once."
    ),
    PortalState.UNINSTALLED: (
        "The app was removed. Nothing is sent. Installing it again brings the portal back; what was kept"
        " of it is erased after 30 days."
    ),
}

_REASONS = {
    "INVALID_GRANT": "the connection was used up: its renewal was lost on the way, or 180 days passed",
    "AUTHORIZATION_ERROR": "the administrator who connected the app has left the company",
    "USER_ACCESS_ERROR": "the app was limited to certain people, and its administrator is not among them",
    "ACCESS_DENIED": "whoever connected the app is no administrator any more",
    "INVALID_CREDENTIALS": "whoever connected the app lost the rights to it",
    "INSUFFICIENT_SCOPE": "the portal did not grant the app its rights: install it again and accept them",
    "NO_TOKENS": "no administrator's connection is left",
    "PORTAL_DELETED": "the portal is closed, perhaps only for a while",
}


def meaning_of(state: PortalState, reason: str = "") -> str:
    """One or two sentences; `reason` is the portal's own error, which may tell more."""
    why = _REASONS.get(reason.partition(":")[0].strip().upper())
    return (
        f"{_MEANINGS[state]} The reason: {why}."
        if why and state is not PortalState.ACTIVE
        else _MEANINGS[state]
    )
