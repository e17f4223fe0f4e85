"""What all pages of the admin's app share: the check before each view, the document around it, the errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, g, render_template, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from app.domain.audit import THE_APP, Actor, Who
from app.services import services
from app.store import audit
from app.store.accounts.accounts import PortalRemoved
from app.store.database import StoreUnavailable
from app.store.database.fence import fence_in
from app.web import caller, outward
from app.web.admin.frame import banner, headers, sessions, static
from app.web.admin.frame.sessions import Session
from app.web.admin.words import language
from app.web.admin.words.adapters import text_of
from app.web.admin.words.troubles import broken_text, ended_text, system_text

TEMPLATES = str(Path(__file__).parents[2] / "templates")
BODY_LIMIT_BYTES = 128 * 1024
ROW_LIMIT = 2**63 - 1
ROW = f"<int(max={ROW_LIMIT}):row_id>"  # what a database can hold as a number of a row
PATHS = ("/ui/", "/install", "/app")

View = TypeVar("View", bound=Callable[..., Response])
_FOR_EMPLOYEES: set[Callable[..., Response]] = set()


def init_app(app: Flask) -> None:
    """What the templates use, and errors that come before a view is found."""
    app.jinja_env.filters["adapter_text"] = text_of
    app.jinja_env.globals["alerts"] = banner.present
    app.register_error_handler(HTTPException, _lost)
    app.before_request(lambda: audit.act_as(THE_APP))  # the thread has served somebody else before


def _lost(error: HTTPException) -> Response | HTTPException:
    if not request.path.startswith(PATHS):
        return error
    return headers.add_headers(system_page(_kind(error), error.code or 500))


def page_blueprint(name: str) -> Blueprint:
    """A blueprint whose views are reached with a session's token only, and by administrators only, but for
    those views that say `employees_may_read`."""
    blueprint = Blueprint(name, __name__, url_prefix="/ui", template_folder=TEMPLATES)
    blueprint.before_request(same_origin)
    blueprint.before_request(_known_session)
    _finish(blueprint)
    return blueprint


def open_blueprint(name: str) -> Blueprint:
    """A blueprint whose views find out by themselves who calls."""
    blueprint = Blueprint(name, __name__, template_folder=TEMPLATES)
    _finish(blueprint)
    return blueprint


def _finish(blueprint: Blueprint) -> None:
    blueprint.after_request(headers.add_headers)
    blueprint.register_error_handler(StoreUnavailable, lambda _error: system_page("store", 503))
    blueprint.register_error_handler(PortalRemoved, lambda _error: system_page("outside", 401))
    blueprint.register_error_handler(outward.TooManyWaiting, lambda _error: system_page("busy", 503))
    blueprint.register_error_handler(
        HTTPException, lambda error: system_page(_kind(error), error.code or 500)
    )


def _kind(error: HTTPException) -> str:
    return {401: "outside", 404: "not_found", 413: "too_long"}.get(error.code or 500, "failed")


def same_origin() -> Response | None:
    """Nothing is sent by a browser on its own, so other sites cannot act; they are refused all the same."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return None if site == "same-origin" else system_page("outside", 403)


def _known_session() -> Response | None:
    request.max_content_length = BODY_LIMIT_BYTES
    session = sessions.current()
    if session is None:
        # A link that the browser followed by itself: our scripts, which carry the token, did not arrive.
        is_alone = request.headers.get("Sec-Fetch-Mode") == "navigate"
        return system_page("incomplete" if is_alone else "outside", 401)
    enter(session)
    if session.is_admin or _reads_what_employees_may():
        return None
    return system_page("not_admin", 403)


def employees_may_read(view: View) -> View:
    """Marks a view as open to employees where the settings let them see the log; its GET alone."""
    _FOR_EMPLOYEES.add(view)
    return view


def _reads_what_employees_may() -> bool:
    return request.method in ("GET", "HEAD") and (
        current_app.view_functions.get(request.endpoint or "") in _FOR_EMPLOYEES
    )


def enter(session: Session) -> None:
    """From here on the request is this person's: language, time zone, and who may frame the answer."""
    g.session = session
    fence_in(session.portal.id)
    identify(session.user_id)
    outward.on_behalf_of(session.portal.member_id, is_proved=True)
    language.use(session.portal.settings.language or session.language, session.time_zone)
    headers.allow_framing_by(session.portal.client_endpoint)


def identify(user_id: str) -> None:
    """What this request does from here on is this user's doing."""
    audit.act_as(Actor(Who.USER, user_id, caller.address()))


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """One page inside the document that the browser already has."""
    return Response(_fragment(template, **values), status=status)


def render(template: str, *, token: str = "", status: int = 200, **values: Any) -> Response:
    """A whole document around a page: the answer to the frame's first request."""
    session: Session | None = g.get("session")
    html = render_template(
        "ui/shell.html",
        content=Markup(_fragment(template, **values)),  # noqa: S704 - rendered by Jinja, escaped there
        token=token,
        theme=session.portal.settings.theme if session else "light",
        static_url=static.static_url,
        ended=ended_text(),
        broken=broken_text(),
        incomplete=system_text("incomplete"),
        app_name=services().config.app_name,
    )
    return Response(html, status=status)


def _fragment(template: str, **values: Any) -> str:
    session: Session | None = g.get("session")
    return render_template(
        f"ui/{template}",
        app_name=services().config.app_name,
        is_admin=session is not None and session.is_admin,
        **values,
    )


def system_page(kind: str, status: int, *, detail: str = "") -> Response:
    """A page that says why there is none: inside the document when htmx asks, whole otherwise."""
    text = system_text(kind, detail)
    if request.headers.get("HX-Request"):
        return page("system.html", status=status, text=text)
    return render("system.html", status=status, text=text)
