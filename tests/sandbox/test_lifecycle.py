from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import requests

from sandbox.client import SandboxError
from tests.sandbox.stage import CLIENT_ID, CLIENT_SECRET, Stage


def test_installer_is_posted_like_a_browser_does(stage: Stage) -> None:
    got = stage.listener.at("/install")[-1]

    assert got.method == "POST"
    assert set(got.query) == {"DOMAIN", "PROTOCOL", "LANG", "APP_SID"}
    assert (got.query["DOMAIN"], got.query["PROTOCOL"]) == (stage.info["domain"], "0")
    assert got.form["AUTH_ID"] == stage.access_token
    assert got.form["member_id"] == stage.info["member_id"]
    assert (got.form["PLACEMENT"], got.form["status"], got.form["AUTH_EXPIRES"]) == ("DEFAULT", "F", "3600")
    assert got.form["SERVER_ENDPOINT"] == f"{stage.auth_url}/rest/"
    assert got.form["APPLICATION_SCOPE"] == "messageservice"
    assert got.headers["HTTP_SEC_FETCH_SITE"] == "cross-site"
    assert "<h1>/install</h1>" in stage.opening["html"]


def test_old_portals_post_fewer_fields(stage: Stage) -> None:
    stage.sandbox.configure(version="old")

    fields = stage.sandbox.open()["fields"]

    assert not {"SERVER_ENDPOINT", "APPLICATION_TOKEN", "APPLICATION_SCOPE", "PLACEMENT_OPTIONS"} & set(
        fields
    )


def test_installer_until_finished_then_the_application(stage: Stage) -> None:
    assert stage.sandbox.open()["phase"] == "install"
    assert "not fully installed" in stage.sandbox.open(user=5)["blocked"]

    answer = stage.sandbox.open(finish=True)

    assert answer["finished"] is True
    assert answer["after"]["phase"] == "app"
    assert "<h1>/app</h1>" in stage.sandbox.open(user=5)["html"]


def test_install_event_comes_after_finishing_and_only_when_bound(stage: Stage) -> None:
    stage.bind("ONAPPINSTALL")
    assert stage.listener.at(stage.events_path) == []

    stage.sandbox.finish()

    form = stage.listener.wait(stage.events_path)[0].form
    assert form["event"] == "ONAPPINSTALL"
    assert (form["data[VERSION]"], form["data[INSTALLED]"]) == ("1", "Y")
    assert "event_handler_id" in form
    assert {"auth[access_token]", "auth[refresh_token]", "auth[application_token]"} <= set(form)
    assert stage.refresh(form["auth[refresh_token]"]).status_code == 200


def test_events_are_skipped_while_not_installed_or_expired(stage: Stage) -> None:
    stage.bind("ONAPPTEST")
    stage.result("event.test", a=1)
    stage.sandbox.finish()
    stage.sandbox.payment(expired=True, allow=True)
    stage.result("event.test", a=2)

    reasons = [entry["reason"] for entry in stage.sandbox.ledger("event_skipped", outcome="ONAPPTEST")]

    assert reasons == ["INSTALLED=N", "payment expired"]
    assert stage.listener.at(stage.events_path) == []


def test_update_takes_senders_and_install_handler_and_changes_the_token(live: Stage) -> None:
    live.bind("ONAPPUPDATE")
    live.bind("ONAPPINSTALL")
    before = live.sandbox.info()["installation"]["application_token"]

    live.sandbox.update()

    form = live.listener.wait(live.events_path)[0].form
    assert (form["event"], form["data[VERSION]"], form["data[PREVIOUS_VERSION]"]) == ("ONAPPUPDATE", "2", "1")
    assert form["auth[application_token]"] not in ("", before)
    assert "auth[refresh_token]" in form
    assert live.result("messageservice.sender.list") == []
    assert [row["event"] for row in live.result("event.get")] == ["ONAPPUPDATE"]


def test_update_with_wizard_sends_no_event(live: Stage) -> None:
    live.bind("ONAPPUPDATE")

    live.sandbox.update(wizard=True)

    assert live.sandbox.ledger("event_skipped")[-1]["reason"] == "INSTALLED=N"
    assert live.sandbox.open()["phase"] == "install"


@pytest.mark.parametrize("clean", [True, False])
def test_uninstall_tells_and_kills_all_tokens(live: Stage, clean: bool) -> None:
    live.bind("ONAPPUNINSTALL")
    live.result("app.option.set", options={"kept": "yes"})

    live.sandbox.uninstall(clean=clean)

    form = live.listener.wait(live.events_path)[0].form
    assert form["data[CLEAN]"] == ("1" if clean else "0")
    assert "auth[access_token]" not in form
    assert form["auth[application_token]"] == live.opening["fields"]["APPLICATION_TOKEN"]
    assert live.refusal("profile")[:2] == (401, "APPLICATION_NOT_FOUND")
    assert live.sandbox.open()["blocked"]

    live.sandbox.install()
    assert live.refusal("profile")[:2] == (401, "invalid_token")  # tokens of the former life stay dead
    assert live.sandbox.info()["installation"]["options"] == ({} if clean else {"kept": "yes"})


def test_reinstall_keeps_the_application_token_unless_asked(live: Stage) -> None:
    before = live.opening["fields"]["APPLICATION_TOKEN"]

    assert live.sandbox.reinstall()["fields"]["APPLICATION_TOKEN"] == before
    assert live.sandbox.reinstall(new_token=True)["fields"]["APPLICATION_TOKEN"] != before


def test_lapsed_payment_blocks_messages_rest_and_the_frame(live: Stage) -> None:
    live.sandbox.payment(expired=True)

    assert live.sandbox.send_sms()["error"] == "Application is not paid"
    assert live.refusal("profile")[1] == "PAYMENT_REQUIRED"
    assert live.sandbox.open()["blocked"]

    live.sandbox.payment(expired=False)
    live.sandbox.send_sms()
    live.listener.wait(live.handler_path)


def test_payment_event_when_it_returns(live: Stage) -> None:
    live.bind("ONAPPPAYMENT")

    live.sandbox.payment(expired=False, days=28)

    form = live.listener.wait(live.events_path)[0].form
    assert (form["data[PAYMENT_EXPIRED]"], form["data[DAYS]"]) == ("N", "28")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_renamed_portal_redirects_from_its_old_address(live: Stage, status: int) -> None:
    old = live.info["client_endpoint"]

    moved = live.sandbox.rename(path=f"/moved/{live.info['portal']}/{status}", redirect=status)

    answer = requests.post(f"{old}profile?x=1", json={}, timeout=5, allow_redirects=False)
    assert answer.status_code == status
    assert answer.headers["Location"] == f"{moved['client_endpoint']}profile?x=1"
    body = {"auth": live.access_token}
    assert requests.post(answer.headers["Location"], json=body, timeout=5).json()["result"]["ID"] == "1"
    assert live.refresh().json()["client_endpoint"] == moved["client_endpoint"]


def test_portal_moves_to_another_host_or_port(live: Stage) -> None:
    host = live.info["domain"].replace("localhost", "127.0.0.1")

    assert live.sandbox.rename(host=host)["domain"] == host
    assert live.call("profile").status_code == 302

    there = live.sandbox.rename(port=True)
    assert there["domain"] != live.info["domain"]
    answer = requests.post(f"{there['client_endpoint']}profile", json={"auth": live.access_token}, timeout=5)
    assert answer.json()["result"]["ID"] == "1"
    assert live.sandbox.open()["url"].split("DOMAIN=")[1].startswith(there["domain"].replace(":", "%3A"))


def test_hundreds_of_portals_are_cheap(stage: Stage) -> None:
    started = time.monotonic()
    portals = stage.sandbox.create_portals(300, bucket=False)

    assert time.monotonic() - started < 10
    assert len({portal["member_id"] for portal in portals}) == 300
    assert len({portal["client_endpoint"] for portal in portals}) == 300


def test_probe_asks_with_head_and_get(stage: Stage) -> None:
    answer = stage.sandbox.probe()

    assert list(answer.values()) == [{"HEAD": 200, "GET": 200}] * 2


def test_misspelt_switch_is_refused(stage: Stage) -> None:
    with pytest.raises(SandboxError, match="Unknown: sent_dealy_s"):
        stage.sandbox.post("/sandbox/portal", sent_dealy_s=1)


def test_oauth_consent_sends_a_code_to_the_application(live: Stage) -> None:
    page = f"http://{live.info['domain']}/p/{live.info['portal']}/oauth/authorize/"
    query = {"client_id": CLIENT_ID, "state": "s1"}

    answer = requests.get(page, params=query, timeout=5, allow_redirects=False)

    assert answer.status_code == 302
    requests.get(answer.headers["Location"], timeout=5)
    got = live.listener.at("/app")[-1].query
    assert (got["state"], got["member_id"]) == ("s1", live.info["member_id"])
    assert live.refresh(grant_type="authorization_code", code=got["code"]).json()["user_id"] == 1


def test_ledger_is_written_to_the_state_directory(live: Stage, process: dict[str, str]) -> None:
    live.sandbox.send_sms()
    live.sandbox.wait_rest()
    time.sleep(0.7)

    lines = (Path(process["state_dir"]) / "portal-ledger.jsonl").read_text().splitlines()

    kinds = {entry["kind"] for line in lines if (entry := json.loads(line))["portal"] == live.info["portal"]}
    assert {"lifecycle", "frame_post", "rest", "sms"} <= kinds
    assert CLIENT_SECRET not in "".join(lines)
    assert live.access_token not in "".join(lines)
