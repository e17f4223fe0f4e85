"""What a message centre says over an account's line: receipts, and answers that came after their time."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from app.domain.outcomes import DeliveryReport, Outcome
from app.gateways.smpp.pdu import ROK, RX_T_APPN, ShortMessage
from app.gateways.smpp.receipts import Receipt, is_about, is_receipt, other_spellings, receipt_of
from app.jobs.hints import hint_push
from app.jobs.messages.unknown import answering
from app.services import Services
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.database import StoreUnavailable
from app.store.messages import claims, gateway_ids, outcomes, parked, reports
from app.store.messages.gateway_ids import Nameless
from app.store.portals import portals

log = logging.getLogger(__name__)

LATE_TRIES = 20
LATE_PAUSE_S = 0.25


def store(services: Services, account: Account, replaced: Sequence[int], message: ShortMessage) -> int:
    """Commit a receipt, and return the status to answer it with: what cannot be stored now comes again.

    `replaced` are earlier accounts of the same login: the receipts for what they sent come here, too.
    """
    if not is_receipt(message):
        log.info("a text that somebody wrote is not kept", extra={"account": account.id})
        return ROK
    receipt = receipt_of(message)
    now = services.now()
    try:
        found = _addressed([account.id, *replaced], receipt)
        if found is None:
            log.warning("receipt fits no message", extra={"account": account.id, "word": receipt.word})
            return ROK
        account_id, report = found
        reports.note_report_call(account.id, now)
        due_at = reports.apply_reports(account_id, [report], now=now, timing=services.timing)
    except StoreUnavailable:
        return RX_T_APPN
    if due_at is not None:
        delay_s = max(0.0, (due_at - now).total_seconds())
        services.engine.hint("push", account.portal_id, delay_s=delay_s)
    return ROK


def _addressed(account_ids: Sequence[int], receipt: Receipt) -> tuple[int, DeliveryReport] | None:
    """The account that sent the message, and the report as it is stored. An id that nobody knows is the first
    account's: its submission may not be recorded yet."""
    report = DeliveryReport(
        receipt.status,
        receipt.word,
        gateway_message_id=receipt.message_id,
        recipient=receipt.number,
        code=receipt.error,
    )
    if not receipt.message_id:
        only = gateway_ids.only_one_to(account_ids, receipt.number, has_ids=(False, True))
        return (only.account_id, replace(report, reference=only.reference)) if only is not None else None
    for account_id in account_ids:
        if found := _spelt_by(account_id, report):
            return account_id, replace(report, gateway_message_id=found)
    if (nameless := _nameless(account_ids, receipt)) is not None:
        return nameless.account_id, replace(report, reference=nameless.reference)
    return account_ids[0], report


def _spelt_by(account_id: int, report: DeliveryReport) -> str:
    """The id of this report's message as the answer to its submission had it; empty where nobody knows it."""
    if gateway_ids.knows(account_id, report.gateway_message_id):
        return report.gateway_message_id
    return gateway_ids.spelt_otherwise(
        account_id, other_spellings(report.gateway_message_id), report.recipient
    )


def _nameless(account_ids: Sequence[int], receipt: Receipt) -> Nameless | None:
    """The message that a receipt is about whose id nobody knows: the answer is still to come, or was cut off
    with the line, and then nobody but the receipt can tell it. It has to be the only message to its number of
    which no id is known, and the receipt has to repeat its text."""
    only = gateway_ids.only_one_to(account_ids, receipt.number)
    is_it = only is not None and only.segments == 1 and is_about(receipt, only.text)
    return only if is_it else None


def match_parked(services: Services, account: Account) -> None:
    """Receipts that outran the answers to their submissions, in another spelling of the id."""
    for parked_id, report in parked.parked_lately(account.id, now=services.now()):
        if not (found := _spelt_by(account.id, report)):
            continue
        now, known = services.now(), replace(report, gateway_message_id=found)
        if parked.match_one_parked(parked_id, known, now=now, timing=services.timing) is not None:
            hint_push(services, account.portal_id)


def store_late_answer(services: Services, account: Account, reference: str, outcome: Outcome) -> None:
    """Evidence for a question that stayed open. The end of the call itself may be recorded at this moment."""
    for _ in range(LATE_TRIES):
        try:
            row_id = gateway_ids.row_of(account.id, reference)
            if row_id is not None and _settle(services, row_id, reference, outcome):
                log.info("answer came late", extra={"account": account.id, "message_row": row_id})
                hint_push(services, account.portal_id)
                return
        except StoreUnavailable as error:
            log.warning("late answer is kept later", extra={"why": str(error)})
        time.sleep(LATE_PAUSE_S)
    log.warning("late answer fits no open question", extra={"account": account.id, "reference": reference})


def _settle(services: Services, row_id: int, reference: str, outcome: Outcome) -> bool:
    """Record the outcome of a message for which it was unknown; False when that is no question any more."""
    question = claims.open_question(row_id)
    account = accounts.by_id(question[0].account_id) if question is not None else None
    if question is None or account is None or question[0].reference != reference:
        return False
    portal, gateway = portals.by_id(account.portal_id), services.gateway(account)
    answer = answering(services, portal, gateway)(question[0], outcome)
    outcomes.record([answer], now=services.now(), timing=services.timing)
    return True
