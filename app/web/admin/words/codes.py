"""What a gateway's words mean, in plain ones: its own codes as its adapter explains them, then HTTP's."""

from __future__ import annotations

import re

from app.gateways.base import Gateway
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _

_CODE = re.compile(r"[A-Za-z0-9_]+")
_HTTP = re.compile(r"\bHTTP ([1-5])([0-9]{2})\b")


def meaning(adapter: type[Gateway] | None, words: str) -> str:
    """One or two sentences on the first code that is known; empty when there is none."""
    found = _HTTP.search(words)
    # An HTTP status is none of the gateway's own codes, though many of those look like one.
    codes = ([found[0]] if found else []) + _CODE.findall(_HTTP.sub(" ", words))
    if adapter is not None:
        for code in codes:
            if code in adapter.explanations:
                return text_of(adapter.explanations[code])
    if found:
        return _of_http(int(found[1] + found[2]))
    return _of_ours(codes[0]) if codes else ""


def _of_http(status: int) -> str:
    match status:
        case 401 | 403:
            return _("The gateway did not accept the key. Check the access data on the page “Gateway”.")
        case 402:
            return _("The balance of the account is used up. Top it up at the gateway.")
        case 404 | 410:
            return _("The gateway has nothing at this address. Check the address on the page “Gateway”.")
        case 408 | 504:
            return _("The gateway was too slow to say whether it took the message.")
        case 413:
            return _("The text is too long for this gateway. Shorten it.")
        case 429:
            return _("The gateway wants fewer messages at a time. They are sent more slowly automatically.")
        case 503:
            return _("The gateway was busy or under maintenance. The app tries again automatically.")
    match status // 100:
        case 3:
            return _("The gateway’s address has moved. Enter the new one on the page “Gateway”.")
        case 4:
            return _(
                "The gateway did not accept something in the request: the number, the text or the sender."
            )
        case 5:
            return _("The gateway had an internal error. Ask its support if this happens often.")
    return ""


def _of_ours(code: str) -> str:
    """Codes that are written when a call did not come about."""
    match code:
        case "address":
            return _("This address may not be called. Check the address on the page “Gateway”.")
        case "not_sent":
            return _("The gateway could not be reached, so it does not have the message.")
        case "not_found":
            return _("The gateway does not have the message, so it was not sent.")
    return ""
