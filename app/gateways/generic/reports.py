"""Delivery reports in whatever shape a gateway writes them: JSON, XML, forms, queries, mixtures of these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.domain.outcomes import DeliveryReport
from app.gateways.answers import at_path, word, word_at
from app.gateways.base import GatewayCall
from app.gateways.generic.content import items_at, value_of
from app.gateways.generic.plan import Plan
from app.transport import decode_text, parse_json

_NESTED = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
_LINES_LIMIT = 20_000


def read_reports(plan: Plan, request: GatewayCall) -> tuple[DeliveryReport, ...]:
    """The reports of one call; none when all of it is about other events.

    Raises:
        ValueError: there is nothing in it that can be read as a report.
    """
    args = dict(request.args)
    items = [item for item in _items(plan, request)[:_LINES_LIMIT] if isinstance(item, Mapping)]
    wanted = [item for item in items if _is_about_messages(plan, item)]
    if items and not wanted:
        return ()
    alone = word(request.reference) if len(wanted) == 1 else ""
    found = tuple(
        report for item in wanted if (report := report_of(plan, {**args, **item}, alone)) is not None
    )
    if not found:
        raise ValueError("the call has no report that can be read")
    return found


def report_of(
    plan: Plan, item: Mapping[str, Any], reference: str = "", gateway_id: str = "", prefix: str = "report_"
) -> DeliveryReport | None:
    """One item as a report; None without a status, or without anything that names a message.

    `prefix` chooses the paths: an answer to a question may be shaped in another way than a call.
    """

    def named(what: str) -> str:
        path = plan.text(f"{prefix}{what}_path") or plan.text(f"report_{what}_path")
        return word_at(item, path) if path else ""

    raw = named("status") or word_at(item, "status")
    reference = named("reference") or reference
    gateway_id = gateway_id or named("id")  # an answer about one message is about the one that was asked for
    if not raw or not (reference or gateway_id):
        return None
    return DeliveryReport(
        status=plan.status(raw),
        raw_status=raw,
        reference=reference,
        gateway_message_id=gateway_id,
        recipient=named("recipient"),
        code=named("code"),
        text=named("text"),
    )


def _is_about_messages(plan: Plan, item: Mapping[str, Any]) -> bool:
    """Consoles send other events to the same address; those are heard and passed over."""
    path, values = plan.text("report_when_path"), plan.words("report_when_values")
    kind = word_at(item, path).casefold() if path else ""
    return not kind or kind in [value.casefold() for value in values]


def _items(plan: Plan, request: GatewayCall) -> list[Any]:
    value = _value(plan, request)
    path = plan.text("report_items_path")
    if path:
        return items_at(value, path)
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping):
        return []
    if word_at(value, plan.text("report_status_path") or "status"):
        return [value]
    # Nobody said where the list is, so it is the one that is there.
    inner = [one for found in value.values() if isinstance(found, list) for one in found]
    return inner or [value]


def _value(plan: Plan, request: GatewayCall) -> Any:
    """The body as a value, whatever its Content-Type calls it; the query where there is no body."""
    if not request.body.strip():
        return _form(plan, request.arg_fields)
    start = decode_text(request.body[:100], request.content_type).lstrip("\ufeff \r\n\t")
    if start[:1] in ("{", "["):
        return request.json
    if start[:1] == "<":
        return value_of(request.body, request.content_type)
    return _form(plan, request.form_fields)


def _form(plan: Plan, fields: Sequence[tuple[str, str]]) -> Any:
    rows = list(_rows(plan, fields))
    if len(rows) > 1:
        return rows
    found: dict[str, Any] = {}
    for name, value in fields:
        parsed = _json_inside(value)
        found[name] = parsed
        _put(found, name, parsed)
    return found


def _json_inside(value: str) -> Any:
    """A form field may hold the whole report as JSON."""
    if value.lstrip()[:1] in ("{", "["):
        try:
            return parse_json(value.encode(errors="replace"))
        except ValueError:
            pass
    return value


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    """`a[b][0]=x` as PHP reads it, beside its own spelling."""
    match = _NESTED.fullmatch(name)
    if match is None:
        return
    steps = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])][:8]
    place = found
    for position, step in enumerate(steps[:-1]):
        inner = place.setdefault(step or str(len(place)), {})
        if not isinstance(inner, dict):
            return
        place = inner
        if position > len(steps):
            return
    place[steps[-1] or str(len(place))] = value


def _rows(plan: Plan, fields: Sequence[tuple[str, str]]) -> Iterator[dict[str, str]]:
    """Several reports in one form: names that come again and again, or values joined by commas."""
    columns: dict[str, list[str]] = {}
    for name, value in fields:
        columns.setdefault(name.removesuffix("[]"), []).append(value)
    status = columns.get(plan.text("report_status_path") or "status", [])
    names = [columns.get(plan.text(path), []) for path in ("report_reference_path", "report_id_path")]
    if len(status) == 1 and "," in status[0]:
        count = status[0].count(",") + 1
        if any(len(one) == 1 and one[0].count(",") + 1 == count for one in names):
            columns = {name: _split(values, count) for name, values in columns.items()}
            status = status[0].split(",")
    count = len(status)
    if count < 2:
        return
    for row in range(count):
        yield {
            name: values[row] if len(values) == count else values[0]
            for name, values in columns.items()
            if len(values) in (1, count)
        }


def _split(values: list[str], count: int) -> list[str]:
    joined = values[0].split(",")
    return joined if len(values) == 1 and len(joined) == count else values


def polled_report(plan: Plan, value: Any, gateway_id: str, reference: str) -> DeliveryReport | None:
    """The answer to a question about one message."""
    items = items_at(value, plan.text("poll_items_path"))
    mine = [item for item in items if isinstance(item, Mapping)]
    path = plan.text("poll_id_path")
    if path:
        mine = [item for item in mine if word_at(item, path) == gateway_id]
    if not mine or not _has_status(plan, mine[0]):
        return None
    return report_of(plan, mine[0], reference, gateway_id, "poll_")


def _has_status(plan: Plan, item: Mapping[str, Any]) -> bool:
    path = plan.text("poll_status_path") or plan.text("report_status_path") or "status"
    return at_path(item, path) is not None
