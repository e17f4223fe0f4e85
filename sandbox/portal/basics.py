"""The small methods around the application: who am I, what is there, events, options, notices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.portal.calls import METHODS, Call, granted_scope, rest_method
from sandbox.portal.errors import RestError
from sandbox.portal.events import KNOWN_EVENTS, fire
from sandbox.portal.messageservice import checked_url
from sandbox.portal.wire import as_map, is_filled, scalar, upper_keys
from sandbox.portal.world import EventRow

_ALL_SCOPES = ("crm", "im", "messageservice", "placement", "user")


@rest_method("app.info")
def app_info(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    row = call.require_app()
    app = call.world.app
    assert app is not None
    return {
        "ID": call.portal.number,
        "CODE": app.code,
        "VERSION": row.version,
        "STATUS": row.status,
        "INSTALLED": row.installed,
        "PAYMENT_EXPIRED": "Y" if row.payment_expired else "N",
        "DAYS": row.days,
        "LANGUAGE_ID": call.portal.lang,
        "LICENSE": call.portal.license,
        "LICENSE_TYPE": call.portal.license.partition("_")[2],
        "LICENSE_FAMILY": call.portal.license.partition("_")[2],
    }


@rest_method("profile")
def profile(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    user = call.user
    return {
        "ID": str(user.id),
        "ADMIN": user.is_admin,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_GENDER": "",
        "TIME_ZONE": user.time_zone,
        "TIME_ZONE_OFFSET": 0,
    }


@rest_method("user.admin")
def user_admin(call: Call, params: dict[str, Any]) -> bool:
    return call.user.is_admin


@rest_method("user.current", "user")
def user_current(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {"ID": str(call.user.id), "NAME": call.user.name, "LAST_NAME": call.user.last_name, "ACTIVE": True}


@rest_method("server.time")
def server_time(call: Call, params: dict[str, Any]) -> str:
    return datetime.fromtimestamp(call.world.clock.now(), UTC).isoformat(timespec="seconds")


@rest_method("scope")
def scope(call: Call, params: dict[str, Any]) -> list[str]:
    if is_filled(upper_keys(params).get("FULL")):
        return list(_ALL_SCOPES)
    return list(granted_scope(call.world, call.portal))


@rest_method("methods")
def methods(call: Call, params: dict[str, Any]) -> list[str]:
    wanted = upper_keys(params)
    granted = granted_scope(call.world, call.portal)
    named = scalar(wanted.get("SCOPE"))
    everything = is_filled(wanted.get("FULL"))
    return sorted(
        name
        for name, spec in METHODS.items()
        if not (spec.new_only and call.portal.is_old)
        and (spec.scope == named if named else everything or not spec.scope or spec.scope in granted)
    )


@rest_method("method.get")
def method_get(call: Call, params: dict[str, Any]) -> dict[str, bool]:
    name = scalar(upper_keys(params).get("NAME")).lower()
    spec = METHODS.get(name)
    exists = spec is not None and not (spec.new_only and call.portal.is_old)
    available = (
        spec is not None
        and exists
        and (not spec.scope or spec.scope in granted_scope(call.world, call.portal))
    )
    return {"isExisting": exists, "isAvailable": available}


@rest_method("app.option.get")
def option_get(call: Call, params: dict[str, Any]) -> Any:
    row = call.require_app()
    name = scalar(upper_keys(params).get("OPTION"))
    if name:
        return row.options.get(name, "")
    return row.options or []


@rest_method("app.option.set")
def option_set(call: Call, params: dict[str, Any]) -> bool:
    row = call.require_app()
    call.require_admin()
    options = as_map(upper_keys(params).get("OPTIONS"))
    if not options:
        raise RestError("ERROR_ARGUMENT", "Argument 'options' is null or empty")
    row.options.update(options)
    return True


@rest_method("event.bind")
def event_bind(call: Call, params: dict[str, Any]) -> bool:
    _require_app_token(call)
    data = upper_keys(params)
    event = scalar(data.get("EVENT")).upper()
    if event not in KNOWN_EVENTS:
        raise RestError("ERROR_EVENT_NOT_FOUND")
    handler = checked_url(scalar(data.get("HANDLER")))
    # An ordinary user's binding is tied to that user; an admin may bind for the application.
    wanted = scalar(data.get("AUTH_TYPE"))
    user_id = int(wanted if wanted.isdecimal() else 0) if call.user.is_admin else call.user.id
    for row in call.portal.events:
        if (row.event, row.handler, row.user_id) == (event, handler, user_id):
            raise RestError("ERROR_CORE", "Unable to set event handler: Handler already binded")
    call.portal.events.append(EventRow(call.portal.take_row_id(), event, handler, user_id))
    return True


@rest_method("event.get")
def event_get(call: Call, params: dict[str, Any]) -> list[dict[str, Any]]:
    _require_app_token(call)
    return [
        {"event": row.event, "handler": row.handler, "auth_type": row.user_id, "offline": 0}
        for row in call.portal.events
    ]


@rest_method("event.unbind")
def event_unbind(call: Call, params: dict[str, Any]) -> dict[str, int]:
    _require_app_token(call)
    data = upper_keys(params)
    wanted = (scalar(data.get("EVENT")).upper(), scalar(data.get("HANDLER")))
    kept = [row for row in call.portal.events if (row.event, row.handler) != wanted]
    count = len(call.portal.events) - len(kept)
    call.portal.events = kept
    return {"count": count}


@rest_method("event.test")
def event_test(call: Call, params: dict[str, Any]) -> bool:
    _require_app_token(call)
    fire(call.world, call.portal, "ONAPPTEST", {"QUERY": params, "LANGUAGE_ID": call.portal.lang})
    return True


@rest_method("events")
def events(call: Call, params: dict[str, Any]) -> list[str]:
    _require_app_token(call)
    return list(KNOWN_EVENTS)


def _notify(call: Call, params: dict[str, Any]) -> int:
    call.require_app()
    data = upper_keys(params)
    to = scalar(data.get("USER_ID") or data.get("TO"))
    text = scalar(data.get("MESSAGE"))
    if not to.isdecimal() or int(to) not in call.portal.users:
        raise RestError("USER_ID_EMPTY", "User ID can't be empty")
    if not text:
        raise RestError("MESSAGE_EMPTY", "Message can't be empty")
    number, tag = call.portal.take_row_id(), scalar(data.get("TAG"))
    # A notice takes the place of the user's earlier one with the same tag.
    kept = [n for n in call.portal.notifications if not tag or (n["user"], n["tag"]) != (int(to), tag)]
    call.portal.notifications = [*kept, {"id": number, "user": int(to), "text": text, "tag": tag}]
    call.world.ledger.record("notice", call.portal.number, user=int(to), text=text, tag=tag)
    return number


for _name in ("im.notify", "im.notify.personal.add", "im.notify.system.add"):
    rest_method(_name, "im")(_notify)


def _require_app_token(call: Call) -> None:
    if call.token is None:
        raise RestError("WRONG_AUTH_TYPE")
