"""A person in front of the product's pages, with what their portal's browser would send for them."""

from __future__ import annotations

import re
from contextvars import Context
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from app import wiring
from app.domain.messages import HandedMessage, Message
from app.domain.portals import Portal
from app.services import services
from app.store.bulk import jobs
from app.store.messages import acceptance, messages
from app.store.portals import portals
from sandbox.client import PortalSandbox

_META = re.compile(r'<meta name="s" content="([^"]+)">')


class Visitor:
    """Opens the frame as the portal's page does, and then asks for pages with the token that he got."""

    def __init__(self, app: Flask, sandbox: PortalSandbox) -> None:
        self.app = app
        self.sandbox = sandbox
        self.token = ""
        self.answers: list[TestResponse] = []

    # --- the frame's first request

    def opening(self, path: str = "/app", *, user: int = 1, lang: str | None = None) -> dict[str, Any]:
        """What the portal would post: the query and the body."""
        if path == "/install":
            opened = self.sandbox.install(user=user)
        else:
            opened = self.sandbox.open(user=user, **({"lang": lang} if lang else {}))
        return {"query": dict(parse_qsl(urlsplit(opened["url"]).query)), "form": dict(opened["fields"])}

    def post(self, path: str, opening: dict[str, Any]) -> TestResponse:
        answer = self.send(
            "POST",
            path,
            query_string=opening["query"],
            data=opening["form"],
            headers={"Sec-Fetch-Site": "cross-site"},
        )
        found = _META.search(answer.text)
        self.token = found[1] if found else ""
        return answer

    def open(self, path: str = "/app", **how: Any) -> TestResponse:
        return self.post(path, self.opening(path, **how))

    def come_in(self) -> TestResponse:
        """Install, finish, open."""
        assert self.open("/install").status_code == 200
        self.sandbox.finish()
        answer = self.open()
        assert self.token, answer.text
        return answer

    # --- the pages

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.ask("GET", path, **more)

    def submit(self, path: str, **form: str | list[str]) -> TestResponse:
        return self.ask("POST", path, data=form)

    def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> TestResponse:
        token = self.token if token is None else token
        headers = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin", **more.pop("headers", {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.send(method, path, headers=headers, **more)

    def send(self, method: str, path: str, **more: Any) -> TestResponse:
        """One request in a context of its own: the test's application context is not the request's."""
        client = self.app.test_client(use_cookies=False)
        answer: TestResponse = Context().run(client.open, path, method=method, buffered=True, **more)
        self.answers.append(answer)
        return answer

    def export(self, **filters: str | list[str]) -> TestResponse:
        """The file of an export, when the worker has written it."""
        asked = self.submit("/ui/bulk", deed="export", key=token_hex(8), **filters)
        found = re.search(r'data-live="(/ui/bulk/[0-9]+)"', asked.text)
        assert found is not None, asked.text
        self.work_off()
        return self.get(f"{found[1]}/file")

    def work_off(self, *, rounds: int = 100) -> None:
        """A worker comes by for the bulk jobs of this portal."""
        Context().run(self._work_off, rounds)

    def _work_off(self, rounds: int) -> None:
        with self.app.app_context():
            while rounds and jobs.under_way(self.portal.id):
                wiring.JOBS["bulk"](services(), self.portal.id)
                rounds -= 1

    # --- what the product knows

    @property
    def member_id(self) -> str:
        return str(self.sandbox.info()["member_id"])

    @property
    def portal(self) -> Portal:
        found = portals.by_member(self.member_id)
        assert found is not None
        return found

    def message(self, text: str = "Hello", to: str = "+4915112345678", **values: Any) -> Message:
        """A message as the portal's queue would bring it."""
        incoming = HandedMessage(
            message_id=f"m{len(text)}-{id(values):x}", recipient=to, text=text, sender_code="sms", **values
        )
        handler = portals.for_test_message(self.portal.id)
        assert handler is not None
        accepted = acceptance.accept(handler, incoming, now=services().now(), timing=services().timing)
        assert accepted.row_id is not None
        found = messages.by_row(self.portal.id, accepted.row_id)
        assert found is not None
        return found
