"""Control API, part three: clock, tokens, and everything that goes wrong on demand."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from sandbox.portal.asking import Question
from sandbox.portal.faults import FaultList, QueueFaults
from sandbox.portal.world import World


def faults_blueprint(world: World) -> Blueprint:
    faults = Blueprint("faults", __name__, url_prefix="/sandbox")
    sides: dict[str, FaultList] = {"rest": world.rest_faults, "auth": world.auth.faults}

    @faults.post("/clock")
    def clock() -> ResponseReturnValue:
        """Move portal time. Delays of queue and races stay in real seconds."""
        question = Question(world)
        move_s, reset = question.get("move_s", 0.0), question.get("reset", False)
        question.done()
        with world.lock:
            if reset:
                world.clock.offset_s = 0.0
            world.clock.move(move_s)
            return jsonify(now=world.clock.now(), offset_s=world.clock.offset_s)

    @faults.post("/tokens/expire")
    def expire() -> ResponseReturnValue:
        """All access tokens are expired from now on; `refresh` kills the refresh tokens as well."""
        question = Question(world)
        portal = question.portal_or_all()
        refresh_too = question.get("refresh", False)
        question.done()
        with world.lock:
            return jsonify(
                access=world.tokens.expire_access(portal),
                refresh=world.tokens.kill_refresh(portal) if refresh_too else 0,
            )

    @faults.get("/auth")
    def show_auth() -> ResponseReturnValue:
        return jsonify(world.auth.view())

    @faults.post("/auth")
    def set_auth() -> ResponseReturnValue:
        question = Question(world)
        auth = world.auth
        with world.lock:
            rotation = question.get("rotation", auth.rotation)
            if rotation not in ("strict", "grace"):
                raise BadRequest("rotation must be strict or grace.")
            auth.rotation = rotation
            auth.lost_every = question.get("lost_every", auth.lost_every)
            auth.with_expires = question.get("with_expires", auth.with_expires)
            auth.with_user_id = question.get("with_user_id", auth.with_user_id)
            auth.access_lifetime_s = question.get("access_lifetime_s", auth.access_lifetime_s)
            question.done()
            return jsonify(auth.view())

    @faults.get("/faults")
    def list_faults() -> ResponseReturnValue:
        with world.lock:
            return jsonify({side: [fault.view() for fault in rules.faults] for side, rules in sides.items()})

    @faults.post("/faults")
    def add_fault() -> ResponseReturnValue:
        question = Question(world)
        side = question.get("side", "rest")
        if side not in sides:
            raise BadRequest("side must be rest or auth.")
        portal = question.portal_or_all()
        fields: dict[str, Any] = {
            "method": question.get("method", "*").lower(),
            "portal": portal.number if portal is not None else None,
            "every": max(1, question.get("every", 1)),
        }
        for name in ("kind", "error", "description"):
            if name in question:
                fields[name] = question.need(name)
        if "status" in question:
            fields["status"] = question.get("status", 0)
        for name in ("for_s", "seconds"):
            if name in question:
                fields[name] = question.get(name, 0.0)
        if "count" in question:
            fields["count"] = question.get("count", 0) or None  # 0 stands for "until cleared"
        question.done()
        with world.lock:
            try:
                return jsonify(sides[side].add(**fields).view())
            except ValueError as error:
                raise BadRequest(str(error)) from None

    @faults.delete("/faults")
    def clear_faults() -> ResponseReturnValue:
        """All rules, the queue's faults and the settings of the authorization server back to normal."""
        with world.lock:
            for rules in sides.values():
                rules.clear()
            world.auth.rotation, world.auth.lost_every = "strict", 0
            world.auth.with_expires = world.auth.with_user_id = True
            for portal in world.portals.values():
                portal.queue_faults = QueueFaults()
        world.queue.release()
        return jsonify(cleared=True)

    @faults.post("/queue")
    def set_queue() -> ResponseReturnValue:
        """Shares of duplicate and dropped posts, delay range, reordering, pause; for one portal or all."""
        question = Question(world)
        portal = question.portal_or_all()
        wanted = question.rest()
        with world.lock:
            for each in [portal] if portal is not None else list(world.portals.values()):
                _set_queue(each.queue_faults, wanted)
        released = world.queue.release() if not _any_paused(world) else 0
        return jsonify(released=released, backlog=world.queue.backlog())

    @faults.post("/bucket/empty")
    def empty_bucket() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal_or_all()
        question.done()
        for each in [portal] if portal is not None else list(world.portals.values()):
            each.bucket.empty()
        return jsonify(emptied=True)

    return faults


def _any_paused(world: World) -> bool:
    return any(portal.queue_faults.paused for portal in world.portals.values())


def _set_queue(queue: QueueFaults, wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        try:
            if name == "delay_s":
                low, high = value if isinstance(value, list) else (value, value)
                queue.delay_s = (float(low), float(high))
            elif name in ("duplicate", "drop", "reorder_s"):
                setattr(queue, name, float(value))
            elif name == "paused":
                queue.paused = bool(value)
            else:
                raise BadRequest(f"Unknown: {name}.")
        except (TypeError, ValueError):
            raise BadRequest(f"{name} has a wrong value.") from None
