"""The operator's figures: the same whichever of gunicorn's workers is asked."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from sandbox.client import PortalSandbox
from sandbox.stack import Stack
from tests.conftest import StackFactory
from tests.worlds.product import product


def figures(started: Stack) -> dict[str, float]:
    bearer = {"Authorization": f"Bearer {started.env['METRICS_TOKEN']}"}
    asked = urllib.request.Request(f"{started.web_url}/metrics", headers=bearer)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")
    }


@pytest.mark.slow
def test_every_worker_tells_what_all_of_them_counted(stack: StackFactory) -> None:
    started = stack(web_workers=2)
    portal = PortalSandbox(started.portal_url)
    portal.install(finish=True)
    for number in range(30):
        portal.send_sms(to=f"+155501000{number:02}")
    portal.wait_rest()

    stored = 'sms_webhook_requests_total{result="stored"}'
    told = {figures(started)[stored] for _ in range(10)}

    assert told == {30.0}
    shown = figures(started)
    assert shown['sms_portals{state="active"}'] == 1
    assert [name for name in shown if re.search(r"\+1555|[0-9a-f]{32}", name)] == []


@pytest.mark.parametrize("token", ["", "a token for tests"])
@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer another", "a token for test", "Basic Og=="])
def test_nobody_sees_figures_without_the_operators_token(tmp_path: Path, token: str, given: str) -> None:
    headers = {"Authorization": given, "X-Forwarded-For": "127.0.0.1"} if given else {}

    with product(tmp_path, METRICS_TOKEN=token) as app:
        answer = app.test_client().get("/metrics", headers=headers)

    assert answer.status_code == 403
    assert "METRICS_TOKEN" in answer.text
    assert "sms_" not in answer.text
