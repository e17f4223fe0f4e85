"""The REST entrance of a portal: address, limits, faults, authorization, dispatch, envelope."""

from __future__ import annotations

import re
import time
from typing import Any

import sandbox.portal.basics
import sandbox.portal.messageservice  # noqa: F401  both put their methods into the table
from sandbox.portal.batch import run_batch
from sandbox.portal.calls import METHODS, Call, MethodSpec, granted_scope
from sandbox.portal.errors import COMMERCIAL_PLANS, WEBHOOK_SCOPE, RestError
from sandbox.portal.faults import Fault, as_rest_error, broken_answer
from sandbox.portal.timing import time_block
from sandbox.portal.tokens import AccessToken
from sandbox.portal.wire import Answer, Environ, json_answer, read_params, scalar, without_secrets
from sandbox.portal.world import Portal, User, World

_WEBHOOK = re.compile(r"(\d+)/([0-9a-z]+)/(.*)")


def is_rest_path(path: str) -> bool:
    return "/rest/" in path


def handle_rest(world: World, environ: Environ) -> Answer:
    """Answer one REST request, faults included."""
    prefix, _, tail = environ["PATH_INFO"].partition("/rest/")
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return Answer(200, b"", headers=(("Access-Control-Allow-Headers", "origin, content-type, accept"),))
    started = time.time()
    with world.lock:
        found = world.find_by_address(environ.get("HTTP_HOST", ""), prefix)
        if found is None:
            return Answer(404, b"<h1>404 Not Found</h1>", "text/html; charset=utf-8")
        portal, moved = found
        if moved:
            return _redirect(world, portal, moved, tail, environ)
        method = _method_name(tail)
        params = read_params(environ)
        bearer = _bearer(environ)
        fault = world.rest_faults.take(method, portal.number)
        if fault is not None and fault.kind not in ("lost", "slow"):
            answer = broken_answer(fault, portal.error_column)
            _record(world, portal, method, params, f"fault:{fault.error or fault.kind}", answer.status)
        else:
            answer = _answer(world, portal, tail, method, params, bearer, started)
            if fault is not None and fault.kind == "lost":
                world.ledger.record("rest_lost", portal.number, method=method)
    return _delayed(answer, fault)


def _redirect(world: World, portal: Portal, status: int, tail: str, environ: Environ) -> Answer:
    query = environ.get("QUERY_STRING", "")
    location = portal.client_endpoint + tail + (f"?{query}" if query else "")
    world.ledger.record("redirect", portal.number, status, method=_method_name(tail))
    return Answer(status, b"", "text/html; charset=utf-8", (("Location", location),))


def _delayed(answer: Answer, fault: Fault | None) -> Answer:
    if fault is None or fault.kind not in ("hang", "slow", "lost"):
        return answer
    if fault.kind != "lost":
        time.sleep(fault.seconds)
    return answer if fault.kind == "slow" else Answer(0, b"", aborted=True)


def _answer(
    world: World,
    portal: Portal,
    tail: str,
    method: str,
    params: dict[str, Any],
    bearer: str,
    started: float,
) -> Answer:
    user_id = 0
    try:
        if not portal.bucket.pour():
            raise RestError("QUERY_LIMIT_EXCEEDED")
        spec = find_method(portal, method)
        call = authorize(world, portal, tail, params, bearer)
        user_id = call.user.id
        check_scope(call, spec)
        arguments = {key: value for key, value in params.items() if key not in ("auth", "access_token")}
        result = run_batch(call, arguments, run_command) if method == "batch" else spec.run(call, arguments)
    except RestError as error:
        status = error.status(portal.error_column)
        _record(world, portal, method, params, error.error, status, user_id)
        return json_answer(error.body(), status)
    _record(world, portal, method, params, "ok", 200, user_id)
    body = {"result": result, "time": time_block(world, portal, method, started)}
    return json_answer(body)


def run_command(call: Call, method: str, params: dict[str, Any]) -> Any:
    """One command of a batch: same user, same scope, own errors; counted by nobody's bucket."""
    fault = call.world.rest_faults.take(method, call.portal.number)
    try:
        if fault is not None and fault.kind == "error":
            raise as_rest_error(fault)
        spec = find_method(call.portal, method)
        check_scope(call, spec)
        result = spec.run(call, params)
    except RestError as error:
        _record_command(call, method, params, error.error)
        raise
    _record_command(call, method, params, "ok")
    return result


def find_method(portal: Portal, method: str) -> MethodSpec:
    spec = METHODS.get(method)
    if spec is None or (spec.new_only and portal.is_old):
        raise RestError("ERROR_METHOD_NOT_FOUND")
    return spec


def check_scope(call: Call, spec: MethodSpec) -> None:
    if spec.scope and spec.scope not in granted_scope(call.world, call.portal):
        raise RestError("insufficient_scope", WEBHOOK_SCOPE if call.token is None else None)


def authorize(world: World, portal: Portal, tail: str, params: dict[str, Any], bearer: str) -> Call:
    """Who calls: the owner of an application's token, or of an incoming webhook."""
    webhook = _WEBHOOK.fullmatch(tail)
    if webhook is not None:
        user = portal.users.get(int(webhook[1]))
        if user is None or webhook[2] != portal.webhook_code:
            raise RestError("INVALID_CREDENTIALS", status=401)
        return Call(world, portal, user, None)
    value = bearer or scalar(params.get("auth")) or scalar(params.get("access_token"))
    if not value:
        raise RestError("NO_AUTH_FOUND")
    token = world.tokens.find_access(value)
    if token is None or token.portal is not portal:
        raise RestError("invalid_token")
    user = _check_token(world, portal, token)
    world.tokens.used(token)
    return Call(world, portal, user, token)


def _check_token(world: World, portal: Portal, token: AccessToken) -> User:
    installation = portal.live_installation()
    if installation is None:
        raise RestError("APPLICATION_NOT_FOUND")
    if token.generation != installation.generation:
        raise RestError("invalid_token")
    if world.tokens.is_expired(token):
        raise RestError("expired_token")
    if not portal.rest_allowed:
        raise RestError("ACCESS_DENIED", COMMERCIAL_PLANS)
    if not installation.payment_allow:
        raise RestError("PAYMENT_REQUIRED")
    user = portal.users.get(token.user_id)
    if user is None or not user.is_active:
        raise RestError("authorization_error")
    if not portal.may_open(user):
        raise RestError("user_access_error")
    return user


def _method_name(tail: str) -> str:
    webhook = _WEBHOOK.fullmatch(tail)
    name = (webhook[3] if webhook else tail).strip("/").lower()
    return name.removesuffix(".json").removesuffix(".xml")


def _bearer(environ: Environ) -> str:
    kind, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def _record(
    world: World,
    portal: Portal,
    method: str,
    params: dict[str, Any],
    outcome: str,
    status: int,
    user: int = 0,
) -> None:
    world.ledger.record(
        "rest",
        portal.number,
        outcome,
        method=method,
        status=status,
        user=user,
        params=without_secrets(params),
    )


def _record_command(call: Call, method: str, params: dict[str, Any], outcome: str) -> None:
    call.world.ledger.record(
        "rest_command",
        call.portal.number,
        outcome,
        method=method,
        user=call.user.id,
        params=without_secrets(params),
    )
