"""A text that an administrator sends to whoever helps them: what we know, and nothing that is secret.

Only what is named here is in it: no tokens, keys, addresses with secrets, texts, full numbers, and no free
words of a gateway or a portal, since nobody knows what they put into them. It is in English for the support.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator

from app.domain.messages import Message
from app.domain.numbers import mask
from app.domain.portals import Portal
from app.services import services
from app.store.accounts import accounts
from app.store.messages.timeline import attempts_of, timeline
from app.web.admin.parts.diagnosis import Diagnosis, diagnose

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_NUMBER = re.compile(r"\+?[0-9]{7,15}")
_LONG_NUMBER = re.compile(r"[0-9]{7}")
_LEFT_OUT = "(left out)"
SHORTEST_SECRET = 6  # anything shorter is found in every report


def support_report(portal: Portal, message: Message | None = None) -> str:
    """The state of the whole chain, and the way of one message where it is about that."""
    lines = list(_about_the_chain(diagnose(portal)))
    if message is not None:
        lines += ["", *_about_the_message(message)]
    report = _without_secrets("\n".join(lines), portal)
    return _without_number(report, message.recipient) if message is not None else report


def _about_the_chain(found: Diagnosis) -> Iterator[str]:
    portal, account = found.portal, found.account
    yield f"report of: {found.at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"app: {services().config.client_id}, version in the portal {portal.app_version or '-'}"
    yield f"server: schema {found.schema}, Python {platform.python_version()}"
    yield f"portal: {portal.domain}, member_id {portal.member_id}, our number {portal.id}"
    yield f"state: {portal.state}, {_code(portal.state_reason)}; installed {portal.installed_at or '-'}"
    yield f"engine answers: {_yes(found.engine_answers)}"
    yield f"worker: {_yes(found.worker_is_alive)}, last sweep {found.swept_at or '-'}"
    yield (
        f"access: refreshed {found.token_refreshed_at or '-'}, problem {_code(found.token_problem)},"
        f" administrators {found.administrators}"
    )
    for sender in found.senders:
        yield (
            f"sender {sender.code}: originator {_originator(sender.originator)},"
            f" registered {sender.registered_at or '-'}, error {_code(sender.error)}"
        )
    refused = ", ".join(map(_code, found.refused_events)) or "-"
    yield f"events: {found.bound_events} of {found.all_events} bound, refused {refused}"
    yield f"last message from the portal: {found.last_received_at or '-'}"
    if account is None:
        yield "gateway: none"
    else:
        check = f"{'good' if account.check.ok else 'bad'} at {account.check.at}" if account.check else "-"
        yield (
            f"gateway: {account.slug}, last check {check}, failed checks {account.failed_checks},"
            f" stopped {account.stopped_since or '-'}, bad calls {account.bad_calls},"
            f" last report {account.last_report_at or '-'}"
        )
    yield f"last status told: {portal.last_pushed_at or '-'}"
    yield "backlog: " + (", ".join(f"{stage} {count}" for stage, count in found.backlog.items()) or "-")
    for call in found.errors:
        codes = " ".join(map(_code, call.error.split(",")))  # a batch may have several
        yield (
            f"REST error: {call.at:%Y-%m-%d %H:%M:%S} {_code(call.method)} HTTP {call.http_status}"
            f" {codes} after {call.took_ms} ms"
        )


def _about_the_message(message: Message) -> Iterator[str]:
    yield f"message: {message.id}, in the portal {_id(message.message_id)}, origin {message.origin}"
    yield f"recipient: {mask(message.recipient)}; sender {_code(message.sender_code)}"
    yield f"received {message.received_at}, valid until {message.expires_at}, due {message.due_at or '-'}"
    yield f"status: {message.status}, reason {_code(message.reason)}, work {message.work}"
    yield f"encoding {message.encoding or '-'}, segments {message.segments}"
    yield f"told: {message.told or '-'} at {message.told_at or '-'}, again at {message.push_due_at or '-'}"
    for attempt in attempts_of(message):
        ids = " ".join(map(_id, attempt["gateway_message_ids"])) or "-"
        yield (
            f"attempt {attempt['number']}: {attempt['gateway']}, reference {attempt['reference']},"
            f" calls {attempt['calls']}, {attempt['started_at']} to {attempt['finished_at'] or '-'},"
            f" outcome {attempt['outcome'] or '-'}, code {_code(attempt['code'])}, ids {ids}"
        )
    for step in timeline(message):
        yield f"step: {step.at:%Y-%m-%d %H:%M:%S} {step.event}"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "NO"


def _code(words: str) -> str:
    """The code that a foreign text begins with. The rest may be anything, a long number may be somebody's."""
    code = words.partition(":")[0].strip()
    return _LEFT_OUT if _LONG_NUMBER.search(code) else _id(code)


def _id(word: str) -> str:
    if not word:
        return "-"
    return word if _CODE.fullmatch(word) else _LEFT_OUT


def _originator(originator: str) -> str:
    return mask(originator) if _NUMBER.fullmatch(originator) else originator or "-"


def _without_secrets(report: str, portal: Portal) -> str:
    """Even a code may be made of a number or a key, where a gateway repeats what it was given."""
    for account in accounts.of_portal(portal.id):
        adapter = services().gateways.get(account.slug)
        secret_names = {field.name for field in adapter.fields if field.secret} if adapter else set()
        for secret in (account.report_secret, *(account.settings.get(name, "") for name in secret_names)):
            if len(secret) >= SHORTEST_SECRET:
                report = report.replace(secret, _LEFT_OUT)
    return report


def _without_number(report: str, number: str) -> str:
    digits = re.sub(r"[^0-9]", "", number)
    return report.replace(digits, mask(number)) if len(digits) >= SHORTEST_SECRET else report
