"""The headers of every answer, whichever route, method and outcome."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tests.worlds.product import MAY_SEE_METRICS
from tests.worlds.visitor import Visitor

MACHINES = ("/sms", "/reports", "/events", "/healthz", "/readyz", "/metrics", "/nowhere")


def _paths(app: Flask) -> list[tuple[str, str]]:
    found = [
        ("GET", "/nowhere"),
        ("DELETE", "/events"),
        ("GET", "/ui/nowhere"),
        ("POST", "/sms/"),
        ("GET", "/sms/x"),
    ]
    for rule in app.url_map.iter_rules():
        converters: dict[str, Any] = rule._converters
        values = {
            name: 1 if "Integer" in type(kind).__name__ else "demo" for name, kind in converters.items()
        }
        with app.test_request_context():
            path = str(app.url_for(rule.endpoint, **values))
        found += [(method, path) for method in sorted(rule.methods or ())]
    return found


def test_nothing_is_kept_guessed_or_run_of_any_answer(admin: Visitor) -> None:
    paths = _paths(admin.app)
    statuses = set()
    for headers in ({}, MAY_SEE_METRICS):
        for method, path in paths:
            answer = admin.send(method, path, headers=headers)
            statuses.add(answer.status_code)
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path
            assert answer.headers["Cache-Control"] == "no-store", path
            assert answer.headers["Referrer-Policy"] == "no-referrer", path
            assert policy.startswith("default-src 'none'"), path
            assert "unsafe" not in policy, path
            if path.startswith(MACHINES):
                assert "frame-ancestors 'none'" in policy, path
    assert {200, 401, 403, 404, 405} <= statuses


def test_the_portals_frame_is_named_in_ascii(admin: Visitor) -> None:
    """A browser may post any DOMAIN; a header holds but ASCII, and no other owner's host."""
    opening = admin.opening("/app")
    found = {}
    for domain in (
        "портал.рф:8443",
        "ſ.example.com",
        "faß.example",
        "b24.example:٣",
        "b24.example;x",
        "\u202e",
    ):
        opening["query"]["DOMAIN"] = domain
        opening["form"]["AUTH_ID"] = "forged"
        answer = admin.post("/app", opening)
        assert answer.status_code == 403, domain
        found[domain] = answer.headers["Content-Security-Policy"].rpartition("frame-ancestors ")[2]

    assert found == {
        "портал.рф:8443": "http://xn--80awhdgm.xn--p1ai:8443",
        "ſ.example.com": "http://s.example.com",
        "faß.example": "http://xn--fa-hia.example",
        "b24.example:٣": "*",
        "b24.example;x": "*",
        "\u202e": "*",
    }
