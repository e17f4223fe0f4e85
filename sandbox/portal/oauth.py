"""The authorization server: `/oauth/token/` and `/rest/app.info`, for all portals together."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

from sandbox.portal.calls import granted_scope
from sandbox.portal.faults import broken_answer
from sandbox.portal.timing import iso, plain_time_block
from sandbox.portal.tokens import AccessToken, GrantError, TokenPair
from sandbox.portal.wire import Answer, Environ, StartResponse, json_answer, read_params, scalar, shorten
from sandbox.portal.world import World
from sandbox.serving import ABORT_KEY


class AuthServer:
    """A WSGI application of its own, so that it can live on another host than the portals."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._refreshes = itertools.count(1)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._handle(environ)
        if answer.aborted:
            environ[ABORT_KEY]()
            return []
        return answer.send(start_response)

    def _handle(self, environ: Environ) -> Answer:
        path = environ["PATH_INFO"].rstrip("/").removesuffix(".json")
        endpoint = {"/oauth/token": "token", "/rest/app.info": "app.info"}.get(path)
        if endpoint is None:
            return json_answer(
                {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"}, 404
            )
        if environ["REQUEST_METHOD"] == "HEAD":
            return Answer(200, b"")
        params = read_params(environ)
        with self._world.lock:
            fault = self._world.auth.faults.take(endpoint, self._portal_of(params))
        if fault is not None and fault.kind not in ("lost", "slow"):
            self._world.ledger.record(
                endpoint.replace("app.info", "auth_info"), 0, f"fault:{fault.error or fault.kind}"
            )
            if fault.kind == "hang":
                time.sleep(fault.seconds)
            return broken_answer(fault, "docs")
        with self._world.lock:
            answer = self._token(params) if endpoint == "token" else self._app_info(params)
        if fault is not None:
            if fault.kind == "lost":
                return Answer(0, b"", aborted=True)
            time.sleep(fault.seconds)
        return answer

    def _portal_of(self, params: dict[str, Any]) -> int | None:
        token = self._world.tokens.find_refresh(scalar(params.get("refresh_token")))
        access = self._world.tokens.find_access(scalar(params.get("auth")))
        found = token or access
        return found.portal.number if found is not None else None

    def _token(self, params: dict[str, Any]) -> Answer:
        value = scalar(params.get("refresh_token"))
        grant = scalar(params.get("grant_type"))
        known = self._world.tokens.find_refresh(value)
        number = known.portal.number if known is not None else 0
        try:
            pair = self._grant(grant, value, scalar(params.get("code")), params)
        except GrantError as error:
            self._world.ledger.record(
                "token", number, error.error, grant=grant, refresh_token=shorten(value), status=error.status
            )
            return json_answer({"error": error.error, "error_description": error.description}, error.status)
        number = pair.access.portal.number
        lost = False
        if grant == "refresh_token":
            every = self._world.auth.lost_every
            lost = bool(every) and next(self._refreshes) % every == 0
        self._world.ledger.record(
            "token",
            number,
            "lost" if lost else "ok",
            grant=grant,
            refresh_token=shorten(value),
            user=pair.access.user_id,
            status=200,
        )
        return Answer(0, b"", aborted=True) if lost else json_answer(self._token_body(pair))

    def _grant(self, grant: str, refresh_token: str, code: str, params: dict[str, Any]) -> TokenPair:
        app = self._world.app
        if grant not in ("refresh_token", "authorization_code"):
            raise GrantError("invalid_request", "Wrong or missing grant_type")
        if grant == "refresh_token" and not refresh_token:
            raise GrantError("invalid_request", "Missing refresh_token")
        given = (scalar(params.get("client_id")), scalar(params.get("client_secret")))
        if app is None or given != (app.client_id, app.client_secret):
            raise GrantError("invalid_client", "The client credentials are invalid")
        if grant == "authorization_code":
            return self._world.tokens.redeem_code(code)
        return self._world.tokens.rotate(refresh_token)

    def _token_body(self, pair: TokenPair) -> dict[str, Any]:
        world, portal = self._world, pair.access.portal
        assert world.app is not None
        assert portal.installation is not None
        assert pair.refresh is not None
        body: dict[str, Any] = {
            "access_token": pair.access.value,
            "refresh_token": pair.refresh.value,
            "expires": int(pair.access.expires_at),
            "expires_in": world.auth.access_lifetime_s,
            "client_endpoint": portal.client_endpoint,
            "server_endpoint": world.server_endpoint,
            "domain": world.auth_domain,
            "member_id": portal.member_id,
            "scope": ",".join(granted_scope(world, portal)),
            "status": portal.installation.status,
            "user_id": pair.access.user_id,
        }
        if not world.auth.with_expires:
            del body["expires"]
        if not world.auth.with_user_id:
            del body["user_id"]
        return body

    def _app_info(self, params: dict[str, Any]) -> Answer:
        started = time.time()
        value = scalar(params.get("auth")) or scalar(params.get("access_token"))
        token = self._world.tokens.find_access(value)
        problem = self._token_problem(value, token)
        number = token.portal.number if token is not None else 0
        self._world.ledger.record("auth_info", number, problem[0] or "ok", auth=shorten(value))
        if token is None or problem[0]:
            return json_answer({"error": problem[0], "error_description": problem[1]}, 401)
        return json_answer({"result": self._app_info_body(token), "time": plain_time_block(started)})

    def _token_problem(self, value: str, token: AccessToken | None) -> tuple[str, str]:
        if not value:
            return "NO_AUTH_FOUND", "Wrong authorization data"
        if token is None:
            return "invalid_token", "Unable to get application by token"
        installation = token.portal.live_installation()
        if installation is None:
            return "APPLICATION_NOT_FOUND", "Application not found"
        if installation.generation != token.generation:
            return "invalid_token", "Unable to get application by token"
        if self._world.tokens.is_expired(token):
            return "expired_token", "The access token provided has expired."
        return "", ""

    def _app_info_body(self, token: AccessToken) -> dict[str, Any]:
        app, portal = self._world.app, token.portal
        assert app is not None
        row = portal.installation
        assert row is not None
        scope = ",".join(granted_scope(self._world, portal))
        return {
            "client_id": app.client_id,
            "scope": scope,
            "expires": iso(token.expires_at),
            "user_id": token.user_id,
            "install": {
                "installed": row.installed,
                "version": str(row.version),
                "status": row.status,
                "scope": scope,
                "domain": portal.host,
                "uri": f"{portal.base_url}/",
                "client_endpoint": portal.client_endpoint,
                "member_id": portal.member_id,
                "member_type": "bitrix24",
            },
        }
