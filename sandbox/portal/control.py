"""Control API, part one: the application, portals, people, and what an administrator does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import requests
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Conflict

from sandbox.portal import lifecycle
from sandbox.portal.asking import Question
from sandbox.portal.errors import DOCS, KERNEL
from sandbox.portal.events import KNOWN_EVENTS, fire, token_fields
from sandbox.portal.frame import FrameBlocked, Frames, post_opening
from sandbox.portal.insider import post_event
from sandbox.portal.world import ADMIN, CARD_LANGUAGES, DISMISSED, EMPLOYEE, App, Portal, User, World

_PROBE_TIMEOUT_S = 10.0


def control_blueprint(world: World, frames: Frames, open_port: Callable[[], str]) -> Blueprint:
    control = Blueprint("control", __name__, url_prefix="/sandbox")

    @control.errorhandler(lifecycle.NoApplication)
    def no_application(error: lifecycle.NoApplication) -> ResponseReturnValue:
        return jsonify(error="Conflict", detail=str(error)), 409

    @control.get("/state")
    def state() -> ResponseReturnValue:
        with world.lock:
            return jsonify(
                app=asdict(world.app) if world.app else None,
                auth_url=world.auth_url,
                clock={"now": world.clock.now(), "offset_s": world.clock.offset_s},
                auth=world.auth.view(),
                portals=len(world.portals),
                backlog=world.queue.backlog(),
                ledger_last=world.ledger.last,
            )

    @control.post("/app")
    def register_app() -> ResponseReturnValue:
        question = Question(world)
        base = question.need("app_url").rstrip("/")
        name = question.get("name", "SMS Provider")
        app = App(
            client_id=question.need("client_id"),
            client_secret=question.need("client_secret"),
            app_url=question.get("application_url", f"{base}/app"),
            install_url=question.get("install_url", f"{base}/install"),
            redirect_url=question.get("redirect_url", f"{base}/app"),
            scope=_words(question.raw("scope", ["messageservice"])),
            name=name,
            code=question.get("code", "vendor.sms"),
            menu_names=question.raw("menu_names") or dict.fromkeys(CARD_LANGUAGES, name),
            status=question.get("status", "F"),
            version=question.get("version", 1),
        )
        question.done()
        with world.lock:
            world.app = app
        return jsonify(asdict(app))

    @control.get("/portals")
    def list_portals() -> ResponseReturnValue:
        with world.lock:
            return jsonify(portals=[portal.view() for portal in world.portals.values()])

    @control.post("/portals")
    def create_portals() -> ResponseReturnValue:
        question = Question(world)
        version, count, bucket = (
            question.get("version", "new"),
            question.get("count", 1),
            question.get("bucket", True),
        )
        question.done()
        portals = [world.add_portal(_one_of("version", version, "new", "old")) for _ in range(count)]
        for portal in portals:
            portal.bucket.enabled = bucket
        return jsonify(portals=[portal.view() for portal in portals], portal=portals[0].number)

    @control.get("/portal")
    def show_portal() -> ResponseReturnValue:
        with world.lock:
            return jsonify(Question(world).portal().view())

    @control.post("/portal")
    def set_portal() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        with world.lock:
            _apply_settings(portal, question)
            question.done()
            return jsonify(portal.view())

    @control.post("/users")
    def set_user() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        with world.lock:
            number = question.get("id", max(portal.users) + 1)
            user = portal.users.get(number) or User(number, f"User {number}", "Example")
            user.name = question.get("name", user.name)
            user.last_name = question.get("last_name", user.last_name)
            user.role = _one_of("role", question.get("role", user.role), ADMIN, EMPLOYEE, DISMISSED)
            user.lang = question.get("lang", user.lang)
            user.time_zone = question.get("time_zone", user.time_zone)
            question.done()
            portal.users[number] = user
            return jsonify(user.view())

    @control.post("/install")
    def install() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        finish, new_token = question.get("finish", False), question.get("new_token", False)
        lang = question.maybe("lang", str)
        question.done()
        lifecycle.begin_install(world, portal, user.id, new_token=new_token)
        return jsonify(_render(portal, user, lang, finish=finish))

    @control.post("/reinstall")
    def reinstall() -> ResponseReturnValue:
        """Remove the application (with its event) and install it again at once."""
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        clean, finish = question.get("clean", False), question.get("finish", False)
        new_token, lang = question.get("new_token", False), question.maybe("lang", str)
        question.done()
        lifecycle.uninstall_app(world, portal, clean=clean)
        lifecycle.begin_install(world, portal, user.id, new_token=new_token)
        return jsonify(_render(portal, user, lang, finish=finish))

    @control.post("/finish")
    def finish_install() -> ResponseReturnValue:
        """As if an administrator's frame had said setInstallFinish, without opening one."""
        question = Question(world)
        portal = question.portal()
        question.done()
        return jsonify(finished=lifecycle.finish_install(world, portal))

    @control.post("/open")
    def open_app() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        lang, finish = question.maybe("lang", str), question.get("finish", False)
        question.done()
        return jsonify(_render(portal, user, lang, finish=finish))

    @control.post("/update")
    def update() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        lifecycle.update_app(
            world,
            portal,
            version=question.maybe("version", int),
            keep_senders=question.get("keep_senders", False),
            wizard=question.get("wizard", False),
            all_handlers=question.get("all_handlers", False),
            new_token=question.get("new_token", True),
        )
        question.done()
        return jsonify(portal.view())

    @control.post("/uninstall")
    def uninstall() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        lifecycle.uninstall_app(world, portal, clean=question.get("clean", True))
        question.done()
        return jsonify(portal.view())

    @control.post("/payment")
    def payment() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        expired = question.get("expired", False)
        lifecycle.set_payment(
            world,
            portal,
            expired=expired,
            allow=question.get("allow", not expired),
            days=question.maybe("days", int),
            force_event=question.get("force_event", False),
        )
        question.done()
        return jsonify(portal.view())

    @control.post("/rename")
    def rename() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        host, prefix = question.get("host", portal.host), question.get("path", portal.prefix)
        status = question.get("redirect", 302)
        if question.get("port", False):
            host = open_port()
        question.done()
        if prefix and not prefix.startswith("/"):
            raise BadRequest("path must be empty or start with /.")
        try:
            lifecycle.rename(world, portal, host=host, prefix=prefix.rstrip("/"), status=status)
        except ValueError as error:
            raise Conflict(str(error)) from None
        return jsonify(portal.view())

    @control.post("/event")
    def send_event() -> ResponseReturnValue:
        """Fire any application event with any data; `force` also where the kernel would hold it back."""
        question = Question(world)
        portal = question.portal()
        event = _one_of("event", question.need("event").upper(), *KNOWN_EVENTS)
        data = question.raw("data") or {}
        with_tokens, force = question.get("with_tokens", False), question.get("force", False)
        question.done()
        with world.lock:
            return jsonify(posts=fire(world, portal, event, data, with_tokens=with_tokens, force=force))

    @control.post("/forge")
    def forge_event() -> ResponseReturnValue:
        """Post an event as an employee with browser tools can, with what the frame told them."""
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        event, data = question.need("event").upper(), question.raw("data") or {}
        with_tokens, times = question.get("with_tokens", False), question.get("times", 1)
        question.done()
        try:
            statuses = post_event(
                world, frames, portal, user, event, data, with_tokens=with_tokens, times=times
            )
        except FrameBlocked as blocked:
            raise Conflict(str(blocked)) from None
        return jsonify(statuses=statuses)

    @control.post("/tokens")
    def mint_tokens() -> ResponseReturnValue:
        """A token pair of some user, as event fields: for a second client beside the application."""
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        question.done()
        with world.lock:
            if portal.installation is None:
                raise Conflict("The application was never installed in this portal.")
            return jsonify(token_fields(world, portal, world.tokens.mint(portal, user.id)))

    @control.post("/code")
    def mint_code() -> ResponseReturnValue:
        """An authorization code, as the portal's consent page would send back; it lives 30 seconds."""
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        question.done()
        with world.lock:
            return jsonify(code=world.tokens.mint_code(portal, user.id), member_id=portal.member_id)

    @control.post("/probe")
    def probe() -> ResponseReturnValue:
        """HEAD and GET of the application's addresses, as the vendor area checks them."""
        question = Question(world)
        urls = question.raw("urls")
        question.done()
        app = world.app
        if app is None:
            raise Conflict("Register an application first: POST /sandbox/app.")
        return jsonify({url: _probe(url) for url in urls or [app.app_url, app.install_url]})

    def _render(portal: Portal, user: User, lang: str | None, *, finish: bool) -> dict[str, Any]:
        """Open the application as a browser without a screen; `finish` says setInstallFinish and reloads."""
        try:
            opening = frames.open(portal, user, lang=lang)
        except FrameBlocked as blocked:
            return {"blocked": str(blocked), "status": None, "html": ""}
        answer: dict[str, Any] = {**opening.view(), **post_opening(world, opening), "finished": False}
        if finish and answer["status"] == 200 and frames.finish(opening):
            answer["finished"] = True
            again = frames.open(portal, user, lang=lang)
            answer["after"] = {**again.view(), **post_opening(world, again)}
        return answer

    return control


def _apply_settings(portal: Portal, question: Question) -> None:
    portal.title = question.get("title", portal.title)
    portal.version = _one_of("version", question.get("version", portal.version), "new", "old")
    portal.lang = question.get("lang", portal.lang)
    portal.license = question.get("license", portal.license)
    portal.rest_allowed = question.get("rest_allowed", portal.rest_allowed)
    portal.error_column = _one_of(
        "error_statuses", question.get("error_statuses", portal.error_column), DOCS, KERNEL
    )
    if "limited_to" in question:
        wanted = question.raw("limited_to")
        portal.limited_to = {int(number) for number in wanted} if wanted != "*" else None
    if "scope" in question:
        wanted = question.raw("scope")
        portal.granted = _words(wanted) if wanted != "*" else None
    for name, value in (question.raw("bucket") or {}).items():
        if name not in ("rate", "limit", "enabled"):
            raise BadRequest(f"Unknown: bucket.{name}.")
        setattr(portal.bucket, name, value)
    for name, value in (question.raw("races") or {}).items():
        if not hasattr(portal.races, name):
            raise BadRequest(f"Unknown: races.{name}.")
        setattr(portal.races, name, value)


def _words(value: Any) -> list[str]:
    return value.replace(",", " ").split() if isinstance(value, str) else [str(item) for item in value]


def _one_of(name: str, value: str, *allowed: str) -> str:
    if value not in allowed:
        raise BadRequest(f"{name} must be one of: {', '.join(allowed)}.")
    return value


def _probe(url: str) -> dict[str, int]:
    statuses = {}
    for method in ("HEAD", "GET"):
        try:
            response = requests.request(method, url, timeout=_PROBE_TIMEOUT_S, allow_redirects=False)
            statuses[method] = response.status_code
        except requests.RequestException:
            statuses[method] = 0
    return statuses
