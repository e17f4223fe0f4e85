"""The people of these tests: an application that only listens, and a portal with both ways to talk to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import requests

from sandbox.client import PortalSandbox

CLIENT_ID, CLIENT_SECRET = "app.5f3a.1", "client-secret-of-the-test"


@dataclass
class Received:
    """One request that reached the listening application."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


@dataclass
class Listener:
    """An application that notes what it is told and answers as it is asked to."""

    status: int = 200
    delay_s: float = 0.0
    received: list[Received] = field(default_factory=list)
    url: str = ""
    page: str = ""  # what /install and /app answer, if not their own name

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read().decode()
        self.received.append(
            Received(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                dict(parse_qsl(environ["QUERY_STRING"])),
                dict(parse_qsl(body, keep_blank_values=True)),
                {key: value for key, value in environ.items() if key.startswith("HTTP_")},
            )
        )
        time.sleep(self.delay_s)
        start_response(f"{self.status} X", [("Content-Type", "text/html")])
        title = f"<h1>{environ['PATH_INFO']}</h1>"
        return [f"<!doctype html><title>Application</title>{title}{self.page}".encode()]

    def at(self, path: str) -> list[Received]:
        return [item for item in self.received if item.path == path]

    def wait(self, path: str, count: int = 1, timeout_s: float = 5.0) -> list[Received]:
        deadline = time.monotonic() + timeout_s
        while len(self.at(path)) < count:
            assert time.monotonic() < deadline, f"{len(self.at(path))} of {count} requests at {path}"
            time.sleep(0.01)
        return self.at(path)


@dataclass
class Stage:
    """A fresh portal with the application in it, its administrator's token, and both ways to talk to it."""

    sandbox: PortalSandbox
    auth_url: str
    listener: Listener
    info: dict[str, Any]
    opening: dict[str, Any]

    @property
    def handler(self) -> str:
        return f"{self.listener.url}/sms/{self.info['portal']}"

    @property
    def handler_path(self) -> str:
        return f"/sms/{self.info['portal']}"

    @property
    def events_path(self) -> str:
        return f"/events/{self.info['portal']}"

    @property
    def access_token(self) -> str:
        return str(self.opening["fields"]["AUTH_ID"])

    @property
    def refresh_token(self) -> str:
        return str(self.opening["fields"]["REFRESH_ID"])

    def token_of(self, user: int) -> str:
        return str(self.sandbox.mint_tokens(user)["access_token"])

    def call(self, method: str, auth: str | None = None, **params: Any) -> requests.Response:
        """One REST call in JSON, by the installing administrator unless told otherwise."""
        body = {"auth": self.access_token if auth is None else auth, **params}
        return requests.post(
            self.info["client_endpoint"] + method, json=body, timeout=10, allow_redirects=False
        )

    def result(self, method: str, auth: str | None = None, **params: Any) -> Any:
        response = self.call(method, auth, **params)
        assert response.status_code == 200, response.text
        return response.json()["result"]

    def refusal(self, method: str, auth: str | None = None, **params: Any) -> tuple[int, str, str]:
        response = self.call(method, auth, **params)
        body = response.json()
        return response.status_code, body["error"], body["error_description"]

    def add_sender(self, code: str = "sms", **fields: Any) -> None:
        fields = {"NAME": {"en": "Example"}, "TYPE": "SMS", "HANDLER": self.handler, **fields}
        assert self.result("messageservice.sender.add", CODE=code, **fields) is True

    def bind(self, event: str) -> None:
        assert (
            self.result("event.bind", event=event, handler=f"{self.listener.url}{self.events_path}") is True
        )

    def refresh(self, refresh_token: str | None = None, **changed: str) -> requests.Response:
        query = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": self.refresh_token if refresh_token is None else refresh_token,
            **changed,
        }
        return requests.get(f"{self.auth_url}/oauth/token/", params=query, timeout=10)
