"""The portal's pages for people, and the JSON that their scripts ask for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, abort, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue

from sandbox.portal import lifecycle
from sandbox.portal.asking import Question
from sandbox.portal.frame import FrameBlocked, Frames, Opening
from sandbox.portal.messageservice import sender_label, status_text
from sandbox.portal.world import CARD_LANGUAGES, Message, Portal, World

_TIMELINE_ROWS = 40
_LANGUAGES = (*CARD_LANGUAGES, "vn", "id", "ms", "th", "kz", "in")

# Fictitious subscribers only; the last one is national, to show what the kernel makes of such numbers.
_CONTACT = {
    "name": "Erika Example",
    "company": "Example Bakery",
    "phones": ["+44 7700 900123", "+1 202 555 0143", "0171 3920012"],
}


def pages_blueprint(world: World, frames: Frames) -> Blueprint:
    pages = Blueprint(
        "pages",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/_portal/static",
    )

    @pages.get("/")
    @pages.get("/<path:prefix>/")
    def portal_page(prefix: str = "") -> ResponseReturnValue:
        found = world.find_by_address(request.host, f"/{prefix}" if prefix else "")
        if found is None:
            abort(404)
        portal, moved = found
        if moved:
            return redirect(f"{portal.base_url}/", code=302)
        return render_template(
            "portal.html",
            portal=portal,
            contact=_CONTACT,
            languages=_LANGUAGES,
            helper_origin=_other_name(request.host),
        )

    @pages.get("/oauth/authorize/")
    @pages.get("/<path:prefix>/oauth/authorize/")
    def authorize(prefix: str = "") -> ResponseReturnValue:
        """The full OAuth flow: the signed-in user is the first admin, and always agrees."""
        found = world.find_by_address(request.host, f"/{prefix}" if prefix else "")
        if found is None:
            abort(404)
        portal, app = found[0], world.app
        if (
            app is None
            or request.args.get("client_id") != app.client_id
            or portal.live_installation() is None
        ):
            return render_template("message.html", title="No such application in this portal"), 200
        with world.lock:
            code = world.tokens.mint_code(portal, 1)
        query = {
            "code": code,
            "state": request.args.get("state", ""),
            "domain": portal.host,
            "member_id": portal.member_id,
            "scope": ",".join(app.scope),
            "server_domain": world.auth_domain,
        }
        return redirect(f"{app.redirect_url}?{urlencode(query)}", code=302)

    @pages.get("/_portal/helper")
    def helper() -> ResponseReturnValue:
        """A page under the portal's other name: what it says comes from a wrong origin."""
        return render_template("helper.html")

    @pages.get("/_portal/state")
    def state() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        lang = question.get("lang", "en")
        question.done()
        with world.lock:
            return jsonify(_state(world, portal, lang))

    @pages.post("/_portal/install")
    def install() -> ResponseReturnValue:
        """The Install button: the row is made, and the page then opens the installer in its frame."""
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        question.done()
        if not user.is_admin:
            return jsonify(error="Only an administrator can install applications."), 403
        try:
            lifecycle.begin_install(world, portal, user.id)
        except lifecycle.NoApplication as error:
            return jsonify(error=str(error)), 409
        return jsonify(installed=True)

    @pages.post("/_portal/frame")
    def open_frame() -> ResponseReturnValue:
        question = Question(world)
        portal = question.portal()
        user = question.user(portal)
        lang = question.maybe("lang", str)
        question.done()
        try:
            opening = frames.open(portal, user, lang=lang)
        except FrameBlocked as blocked:
            return jsonify(blocked=str(blocked))
        world.ledger.record("frame_open", portal.number, opening.view()["phase"], user=user.id)
        return jsonify(opening.view())

    @pages.post("/_portal/frame/<sid>")
    def frame_call(sid: str) -> ResponseReturnValue:
        """One message from the frame: noted, and answered where the server has the answer."""
        opening = frames.find(sid)
        if opening is None:
            abort(404)
        body = request.get_json()
        method, params = str(body.get("method", "")), body.get("params") or {}
        answer = _frame_answer(frames, opening, method, params if isinstance(params, dict) else {})
        noted = {} if method == "getInitData" else params
        world.ledger.record("frame_call", opening.portal.number, method, user=opening.user.id, params=noted)
        return jsonify(answer=answer)

    return pages


def _frame_answer(frames: Frames, opening: Opening, method: str, params: dict[str, Any]) -> Any:
    """The server's part of an answer; None where it has none (or refuses without a word)."""
    if method == "getInitData":
        return frames.init_data(opening)
    if method == "refreshAuth":
        return frames.refresh_auth(opening)
    if method == "setInstall":
        frames.first_run_done(opening)
        return True
    if method == "setInstallFinish":
        return frames.finish(opening) or None
    if method == "setAppOption":
        return frames.set_option(opening, str(params.get("name", "")), params.get("value"))
    return None


def _state(world: World, portal: Portal, lang: str) -> dict[str, Any]:
    row = portal.live_installation()
    messages = list(portal.messages.values())[-_TIMELINE_ROWS:]
    return {
        "title": portal.title,
        "app": world.app.name if world.app is not None else None,
        "phase": "absent" if row is None else ("app" if row.installed else "install"),
        "paid": row.payment_allow if row is not None else True,
        "users": [user.view() for user in portal.users.values()],
        "senders": [
            {"code": sender.code, "label": sender_label(sender, world.app, portal, lang)}
            for sender in portal.senders.values()
        ],
        "messages": [_row(portal, message) for message in reversed(messages)],
        "message_count": len(portal.messages),
        "notifications": portal.notifications[-5:],
        "clock_offset_s": world.clock.offset_s,
        "faults": [fault.view() for fault in world.rest_faults.faults]
        + [{**fault.view(), "side": "auth"} for fault in world.auth.faults.faults],
        "queue": portal.queue_faults.view(),
        "races": portal.races.view(),
        "auth": world.auth.view(),
        "rest_allowed": portal.rest_allowed,
        "version": portal.version,
        "counts": world.ledger.counts(portal.number),
    }


def _row(portal: Portal, message: Message) -> dict[str, Any]:
    author = portal.users.get(message.author)
    view = message.view()
    view["author_name"] = f"{author.name} {author.last_name}" if author is not None else "Automatic"
    view["status_text"] = status_text(message.status)
    return view


def _other_name(host: str) -> str:
    """The same server under the other loopback name: another origin for the browser."""
    name, _, port = host.partition(":")
    other = "127.0.0.1" if name != "127.0.0.1" else "localhost"
    return f"http://{other}:{port}" if port else f"http://{other}"
