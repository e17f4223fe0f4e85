from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.sandbox.stage import CLIENT_ID, Stage


def test_refresh_answers_a_new_pair_with_the_portals_address(live: Stage) -> None:
    body = live.refresh().json()

    assert body["access_token"] != live.access_token
    assert body["refresh_token"] != live.refresh_token
    assert body["member_id"] == live.info["member_id"]
    assert body["client_endpoint"] == live.info["client_endpoint"]
    assert body["server_endpoint"] == f"{live.auth_url}/rest/"
    assert body["domain"] == live.auth_url.removeprefix("http://")
    assert (body["expires_in"], body["user_id"], body["scope"]) == (3600, 1, "messageservice")
    assert live.result("profile", body["access_token"])["ID"] == "1"


def test_strict_rotation_kills_the_old_refresh_token_at_once(live: Stage) -> None:
    assert live.refresh().status_code == 200

    again = live.refresh()

    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_graceful_rotation_keeps_the_old_one_until_the_new_pair_is_used(live: Stage) -> None:
    live.sandbox.set_auth(rotation="grace")
    first = live.refresh().json()
    assert live.refresh().status_code == 200

    live.result("profile", first["access_token"])

    assert live.refresh().json()["error"] == "invalid_grant"


def test_only_one_of_many_refreshes_wins_when_rotation_is_strict(live: Stage) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda _: live.refresh(), range(8))]

    assert sorted(statuses) == [200] + [400] * 7
    assert live.sandbox.refreshes()[str(live.info["portal"])] == 1
    assert live.sandbox.counts()["token:invalid_grant"] == 7


def test_lost_answer_rotates_all_the_same(live: Stage) -> None:
    live.sandbox.set_auth(lost_every=1)

    with pytest.raises(requests.ConnectionError):
        live.refresh()
    live.sandbox.set_auth(lost_every=0)

    assert live.refresh().json()["error"] == "invalid_grant"
    assert live.sandbox.counts()["token:lost"] == 1


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"refresh_token": ""}, "invalid_request"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "app.other.2"}, "invalid_client"),
        ({"refresh_token": "unknown"}, "invalid_grant"),
    ],
)
def test_refresh_refuses(live: Stage, changed: dict[str, str], error: str) -> None:
    assert live.refresh(**changed).json()["error"] == error


def test_states_of_the_portal_decide_about_refreshing(live: Stage) -> None:
    live.sandbox.payment(expired=True)
    assert live.refresh().json()["error"] == "PAYMENT_REQUIRED"

    live.sandbox.payment(expired=False)
    live.sandbox.uninstall()
    assert live.refresh().json()["error"] == "invalid_client"


def test_refresh_tokens_live_180_days(live: Stage) -> None:
    live.sandbox.move_clock(181 * 86_400)

    assert live.refresh().json()["error"] == "invalid_grant"


def test_access_tokens_live_an_hour_of_portal_time(live: Stage) -> None:
    live.sandbox.move_clock(3_601)

    assert live.refusal("profile")[1] == "expired_token"
    assert live.result("profile", live.refresh().json()["access_token"])["ID"] == "1"


def test_answers_can_lack_expires_and_user(live: Stage) -> None:
    live.sandbox.set_auth(with_expires=False, with_user_id=False)

    assert not {"expires", "user_id"} & set(live.refresh().json())


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"error": "invalid_client", "status": 401}, 401),
        ({"error": "PAYMENT_REQUIRED", "status": 200}, 200),
        ({"kind": "html", "status": 503}, 503),
    ],
)
def test_authorization_server_fails_on_demand(live: Stage, fault: dict[str, object], status: int) -> None:
    live.sandbox.add_fault(side="auth", method="token", **fault)

    answer = live.refresh()

    assert answer.status_code == status
    assert "access_token" not in answer.text
    assert live.refresh().status_code == 200


def test_every_nth_call_can_fail_until_cleared(live: Stage) -> None:
    live.sandbox.add_fault(side="auth", method="app.info", error="invalid_request", every=2, count=0)
    url = f"{live.auth_url}/rest/app.info"

    answers = [requests.get(url, params={"auth": live.access_token}, timeout=5).ok for _ in range(4)]

    assert answers == [True, False, True, False]


def test_authorization_server_can_be_down(live: Stage) -> None:
    live.sandbox.add_fault(side="auth", kind="drop")

    with pytest.raises(requests.ConnectionError):
        live.refresh()


def test_app_info_vouches_for_a_token(live: Stage) -> None:
    url = f"{live.auth_url}/rest/app.info"

    result = requests.get(url, params={"auth": live.token_of(5)}, timeout=5).json()["result"]
    unknown = requests.post(url, json={"auth": "nonsense"}, timeout=5)

    assert (result["client_id"], result["user_id"]) == (CLIENT_ID, 5)
    assert result["install"]["member_id"] == live.info["member_id"]
    assert result["install"]["client_endpoint"] == live.info["client_endpoint"]
    assert (unknown.status_code, unknown.json()["error"]) == (401, "invalid_token")


def test_code_is_exchanged_once(live: Stage) -> None:
    code = live.sandbox.mint_code(user=2)

    first = live.refresh(grant_type="authorization_code", code=code).json()
    second = live.refresh(grant_type="authorization_code", code=code).json()

    assert first["user_id"] == 2
    assert second["error"] == "invalid_grant"
