"""The files of `deploy/`: the image is complete, units are well formed, alerts fire and have a runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.web.operator.worker_figures import COUNTERS, HISTOGRAMS
from sandbox.client import PortalSandbox
from sandbox.processes import PROJECT
from sandbox.stack import Stack
from tests.worlds.product import product

DEPLOY = PROJECT / "deploy"
RULES = (DEPLOY / "prometheus" / "rules.yml").read_text()
METRIC = re.compile(r"\bsms_[a-z_]+")
# Seen only once something was counted; the others are there from the first scrape.
COUNTED = {
    *(f"{name}_total" for name in COUNTERS),
    *(f"{name}_bucket" for name in HISTOGRAMS),
    *("sms_webhook_requests_total", "sms_dlr_total", "sms_last_handler_call_timestamp_seconds"),
    *("sms_worker_heartbeat_age_seconds", "sms_portals", "sms_portal_unknown_errors", "sms_incidents"),
}


def _copied_into_the_image() -> list[str]:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    own = [line.split()[1:] for line in lines if line.startswith("COPY ") and "--from" not in line]
    return [name for *names, _target in own for name in names]


@pytest.mark.slow
def test_what_the_image_copies_is_all_that_a_message_needs(tmp_path: Path) -> None:
    for name in _copied_into_the_image():
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    shutil.copytree(PROJECT / "sandbox", tmp_path / "sandbox")  # on the other side of the wire

    with Stack(project=tmp_path) as stack:
        portal = PortalSandbox(stack.portal_url)
        portal.install(finish=True)
        portal.send_sms(to="+15550100001")
        portal.wait_rest()
        told = stack.flask("messages", "list", portal.info()["member_id"])

    assert [row["recipient"] for row in told] == ["+15550100001"]


def test_nothing_else_goes_into_the_image() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().split()

    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored[1:] if line.startswith("!")} == set(
        _copied_into_the_image()
    )


def test_the_image_runs_as_nobody_in_particular() -> None:
    text = (DEPLOY / "Dockerfile").read_text()

    assert re.search(r"^USER (?!0\b|root)\d+:\d+$", text, re.M)
    assert text.rindex("USER ") < text.rindex("CMD ")


def test_services_are_started_as_the_procfile_says() -> None:
    commands = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())
    compose = (DEPLOY / "compose.yaml").read_text()

    for name in ("release", "worker", "smpp"):
        assert f"command: [{', '.join(commands[name].split())}]" in compose
        unit = (DEPLOY / "systemd" / f"sms-provider-{name}.service").read_text()
        assert f"ExecStart=/srv/sms-provider/.venv/bin/{commands[name]}\n" in unit
    web = (DEPLOY / "systemd" / "sms-provider-web.service").read_text()
    assert '-c gunicorn.conf.py --bind 127.0.0.1:8000 "app:create_app()"\n' in web
    assert json.dumps(["gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]) in (
        (DEPLOY / "Dockerfile").read_text()
    )


def test_units_are_well_formed_and_fenced_in() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    units = sorted((DEPLOY / "systemd").glob("*.service"))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]

    assert complaints == []


def test_every_alert_fires_and_none_fires_while_all_is_well() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is missing: apt-get install prometheus")
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]):
        done = subprocess.run(
            ["promtool", *command],
            cwd=DEPLOY / "prometheus",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    tried = (DEPLOY / "prometheus" / "rules.test.yml").read_text()
    for alert in re.findall(r"- alert: (\w+)", RULES):
        assert len(re.findall(rf"alertname: {alert}\n", tried)) == 2, alert


def test_every_alert_has_a_line_in_the_runbook() -> None:
    runbook = (PROJECT / "docs" / "operations.md").read_text()

    missing = [name for name in re.findall(r"- alert: (\w+)", RULES) if f"| `{name}` |" not in runbook]

    assert missing == []


def test_alerts_and_dashboard_ask_for_figures_that_there_are(tmp_path: Path) -> None:
    with product(tmp_path, METRICS_TOKEN="a token for tests") as app:
        answer = app.test_client().get("/metrics", headers={"Authorization": "Bearer a token for tests"})
    shown = set(METRIC.findall(answer.text)) | COUNTED
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    asked = {
        name for panel in dashboard["panels"] for t in panel["targets"] for name in METRIC.findall(t["expr"])
    }
    asked |= set(METRIC.findall("\n".join(line for line in RULES.splitlines() if "summary" not in line)))

    assert asked - shown == set()


def test_the_proxy_of_the_compose_file_is_there() -> None:
    compose = (DEPLOY / "compose.yaml").read_text()

    for path in re.findall(r"- \./(\S+?):/", compose):
        assert (DEPLOY / path).exists(), path
