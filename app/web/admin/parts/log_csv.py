"""The log as a CSV file that spreadsheets open as it is meant, whatever stands in the messages."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from flask import current_app

from app.bitrix.cards import cards_of
from app.domain.messages import Message
from app.domain.prices import Price, parse_price, totals
from app.store.bulk.jobs import Asker
from app.web.admin.parts.days import zone
from app.web.admin.words import language
from app.web.admin.words.language import decimal_sign
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import card_label, reason_text, status_label

# By these first characters a spreadsheet takes a text for a formula, and runs it; full-width ones count, too.
# One that reads the file with another separator than ours begins a cell after a semicolon, a comma, a tab or
# a line break inside of a text. A number of a phone is no formula: with its plus it is but a number, and
# others who read the file need it as it is.
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
_BEGIN = re.compile(rf"(?:^|(?<=[;,|\t\r\n]))[ \u00a0\u3000\"']*(?=[{_SIGNS}])")
_PHONE = re.compile(r"\+[0-9]{1,20}")


def piece(
    messages: Sequence[Message],
    costs: Mapping[int, list[str]],
    gateways: Mapping[int, str],
    reader: Asker,
    is_begin: bool,
) -> str:
    """Some lines of the file, as its reader reads; before the first the byte order mark and the header."""
    with current_app.app_context():  # whoever writes it is no request, and may serve another reader next
        language.use(reader.language, reader.time_zone)
        head = "\ufeff" + written([_header()]) if is_begin else ""
        return head + written(_cells(message, costs.get(message.id, []), gateways) for message in messages)


def _header() -> list[str]:
    return [
        _("Time"),
        _("Recipient"),
        _("Status"),
        _("Reason"),
        _("Segments"),
        _("Encoding"),
        _("Price"),
        _("Currency"),
        _("Gateway"),
        _("Sender"),
        _("CRM"),
        _("Author"),
        _("ID in Bitrix24"),
        _("ID in this app"),
        _("Text"),
    ]


def _cells(message: Message, costs: list[str], gateways: Mapping[int, str]) -> list[str]:
    reason = reason_text(message)
    prices = totals(price for cost in costs if (price := parse_price(cost)))
    return [
        message.received_at.astimezone(zone()).isoformat(timespec="seconds"),
        message.recipient,
        status_label(message.status),
        reason.title if reason else "",
        str(message.segments or ""),
        message.encoding,
        " ".join(_amount(price) for price in prices),
        " ".join(price.currency for price in prices),
        gateways.get(message.account_id or 0, ""),
        message.sender_code,
        ", ".join(card_label(card) for card in cards_of(message.bindings)),
        message.author_id,
        message.message_id,
        str(message.id),
        message.text,
    ]


def _amount(price: Price) -> str:
    return f"{price.amount:f}".replace(".", decimal_sign())


def written(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a file. Where the comma stands before decimals, spreadsheets expect a semicolon."""
    file = io.StringIO()
    writer = csv.writer(
        file, delimiter=";" if decimal_sign() == "," else ",", lineterminator="\r\n", quoting=csv.QUOTE_ALL
    )
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return file.getvalue()


def harmless(cell: str) -> str:
    """The text of a cell, so that no spreadsheet calculates with it."""
    if _PHONE.fullmatch(cell):
        return cell
    guarded = _BEGIN.sub(lambda found: f"{found[0]}'", cell)
    return f"'{guarded}" if cell.startswith(("\t", "\r", "\n")) else guarded
