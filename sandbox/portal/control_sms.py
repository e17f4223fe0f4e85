"""Control API, part two: sending messages, and looking at what happened."""

from __future__ import annotations

import time
from collections import Counter

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, NotFound

from sandbox.portal.asking import Question
from sandbox.portal.campaigns import Campaigns
from sandbox.portal.messageservice import sender_label, sender_phrases
from sandbox.portal.sms import AUTH_SHAPES, CARD, MARKETING, ORIGINS, SmsOrder, repeat_sms, send_sms
from sandbox.portal.world import Message, Portal, World

_MAX_ROWS = 1000


def sms_blueprint(world: World, campaigns: Campaigns) -> Blueprint:
    sms = Blueprint("sms", __name__, url_prefix="/sandbox")

    @sms.post("/messages")
    def send() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        order = _order(question, portal)
        question.done()
        return jsonify(send_sms(world, portal, order).view())

    @sms.get("/messages")
    def rows() -> ResponseReturnValue:
        """Rows of the message table, oldest first; `count=1` only counts them by status."""
        question = Question(world)
        portal = question.portal_or_all()
        message_id = question.maybe("message_id", str)
        wanted = {name: question.raw(name) for name in ("status", "sender", "origin") if name in question}
        if "campaign" in question:
            wanted["campaign"] = question.get("campaign", 0)
        after, limit = question.get("after", 0), question.get("limit", _MAX_ROWS)
        only_count = question.get("count", False)
        question.done()
        portals = [portal] if portal is not None else list(world.portals.values())
        found = [
            (each.number, message)
            for each in portals
            for message in _candidates(world, each, message_id)
            if message.id > after and all(getattr(message, name) == value for name, value in wanted.items())
        ]
        if only_count:
            return jsonify(count=len(found), statuses=Counter(message.status for _, message in found))
        return jsonify(
            count=len(found),
            messages=[{"portal": number, **message.view()} for number, message in found[:limit]],
        )

    @sms.post("/messages/repeat")
    def repeat() -> ResponseReturnValue:
        """Post a message again under its id, as the portal does after a crashed run of its own queue."""
        question = Question(world)
        portal = question.portal()
        message_id, copies = question.need("message_id"), question.get("copies", 1)
        question.done()
        message = portal.sent_as.get(message_id)
        if message is None:
            raise NotFound(f"There is no message {message_id}.")
        repeat_sms(world, portal, message, copies)
        return jsonify(message.view())

    @sms.get("/senders")
    def senders() -> ResponseReturnValue:
        """What a user reads in the list of senders, in his language or the one asked for."""
        question = Question(world)
        portal = question.portal()
        lang = question.get("lang", question.user(portal).lang)
        question.done()
        with world.lock:
            return jsonify(
                senders=[
                    {
                        "code": sender.code,
                        "label": sender_label(sender, world.app, portal, lang),
                        "description": sender_phrases(sender, lang)[1],
                        "handler": sender.handler,
                    }
                    for sender in portal.senders.values()
                ]
            )

    @sms.post("/campaigns")
    def start_campaign() -> ResponseReturnValue:
        question = Question(world)
        portals = question.portals()
        count, rate = question.get("count", 100), question.get("rate", 0.0)
        order = _order(question, portals[0], origin=MARKETING)
        question.done()
        return jsonify(campaigns.start(portals, order, count, rate).view())

    @sms.get("/campaigns")
    def show_campaigns() -> ResponseReturnValue:
        question = Question(world)
        number, brief = question.get("campaign", 0), question.get("brief", False)
        question.done()
        if not number:
            return jsonify(campaigns=[campaign.view() for campaign in campaigns.all.values()])
        if number not in campaigns.all:
            raise NotFound(f"There is no campaign {number}.")
        found = campaigns.all[number]
        return jsonify(found.brief() if brief else found.view())

    @sms.post("/campaigns/stop")
    def stop_campaign() -> ResponseReturnValue:
        question = Question(world)
        number = question.get("campaign", 0)
        question.done()
        for campaign in campaigns.all.values():
            if number in (0, campaign.id):
                campaign.stopped = True
        return jsonify(stopped=True)

    @sms.get("/ledger")
    def ledger() -> ResponseReturnValue:
        """Entries oldest first. Any further query field is compared: `?kind=rest&method=profile`."""
        question = Question(world)
        portal = question.portal_or_all()
        kind, since = question.maybe("kind", str), question.get("since", 0)
        limit = question.maybe("limit", int)
        only_count = question.get("count", False)
        equal = {name: str(value) for name, value in question.rest().items()}
        entries = world.ledger.find(
            kind=kind,
            portal=portal.number if portal is not None else None,
            since=since,
            limit=limit,
            **equal,
        )
        if only_count:
            return jsonify(count=len(entries), last=world.ledger.last)
        return jsonify(entries=entries, count=len(entries), last=world.ledger.last)

    @sms.delete("/ledger")
    def clear_ledger() -> ResponseReturnValue:
        world.ledger.clear()
        return jsonify(last=world.ledger.last)

    @sms.get("/counts")
    def counts() -> ResponseReturnValue:
        """`kind:outcome` -> how often; and refreshes per portal. The length of the ledger does not matter."""
        question = Question(world)
        portal = question.portal_or_all()
        by_portal = question.maybe("by_portal", str)
        question.done()
        if by_portal is not None:
            return jsonify(counts=world.ledger.counts_by_portal(by_portal))
        return jsonify(
            counts=world.ledger.counts(portal.number if portal is not None else None),
            refreshes=world.ledger.counts_by_portal("token:ok"),
        )

    @sms.post("/wait")
    def wait_for_rest() -> ResponseReturnValue:
        """Return when nothing is waiting to be posted or written any more, or after `timeout_s`."""
        question = Question(world)
        deadline = time.monotonic() + question.get("timeout_s", 30.0)
        question.done()
        while world.queue.backlog() and time.monotonic() < deadline:
            time.sleep(0.02)
        return jsonify(backlog=world.queue.backlog())

    return sms


def _order(question: Question, portal: Portal, origin: str = CARD) -> SmsOrder:
    origin = question.get("origin", origin)
    if origin not in ORIGINS:
        raise BadRequest(f"origin must be one of: {', '.join(ORIGINS)}.")
    auth = question.maybe("auth", str)
    if auth is not None and auth not in AUTH_SHAPES:
        raise BadRequest(f"auth must be one of: {', '.join(AUTH_SHAPES)}.")
    return SmsOrder(
        sender=question.get("sender", next(iter(portal.senders), "sms")),
        to=question.get("to", "+4915112345678"),
        text=question.get("text", "Hello from the sandbox"),
        origin=origin,
        author=question.maybe("author", int),
        auth=auth,
        ts_offset_s=question.get("ts_offset_s", 0.0),
        copies=question.get("copies", 1),
        direct=question.maybe("direct", bool),
        message_id=question.maybe("message_id", str),
        extra=question.raw("extra") or {},
        omit=tuple(question.raw("omit") or ()),
    )


def _candidates(world: World, portal: Portal, message_id: str | None) -> list[Message]:
    with world.lock:
        if message_id is None:
            return list(portal.messages.values())
        message = portal.sent_as.get(message_id)
        return [message] if message is not None else []
