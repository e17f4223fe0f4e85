from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.sandbox.stage import Stage


def url_of(stage: Stage, method: str) -> str:
    return str(stage.info["client_endpoint"]) + method


def test_form_json_query_and_bearer_are_all_understood(live: Stage) -> None:
    token, post = live.access_token, requests.post
    answers = [
        post(url_of(live, "profile"), data={"auth": token}, timeout=5),
        post(url_of(live, "profile.json"), json={"auth": token}, timeout=5),
        post(url_of(live, "PROFILE"), json={"access_token": token}, timeout=5),
        requests.get(url_of(live, "profile"), params={"auth": token}, timeout=5),
        post(url_of(live, "profile"), headers={"Authorization": f"Bearer {token}"}, json={}, timeout=5),
        # A good header beats a bad parameter; a good body beats a bad query.
        post(
            url_of(live, "profile"),
            headers={"Authorization": f"Bearer {token}"},
            json={"auth": "x"},
            timeout=5,
        ),
        post(url_of(live, "profile?auth=x"), json={"auth": token}, timeout=5),
    ]

    assert [answer.json().get("result", {}).get("ID") for answer in answers] == ["1"] * len(answers)


def test_parameter_names_are_read_in_any_case_and_brackets_nest(stage: Stage) -> None:
    form = {
        "auth": stage.access_token,
        "code": "low",
        "Type": "SMS",
        "handler": stage.handler,
        "name[en]": "Alpha",
        "name[de]": "Beta",
    }

    answer = requests.post(url_of(stage, "messageservice.sender.add"), data=form, timeout=5)

    assert answer.json()["result"] is True
    assert stage.sandbox.info()["senders"][0]["phrases"]["de"] == ["Beta", None]


def test_invalid_json_is_an_empty_request(live: Stage) -> None:
    headers = {"Content-Type": "application/json"}
    body = f'{{"auth":"{live.access_token}",'

    answer = requests.post(url_of(live, "profile"), data=body, headers=headers, timeout=5)

    assert (answer.status_code, answer.json()["error"]) == (401, "NO_AUTH_FOUND")


def test_answer_tells_time_and_operating_on_new_portals_only(live: Stage) -> None:
    new = live.call("profile").json()["time"]
    live.sandbox.configure(version="old")
    old = live.call("profile").json()["time"]

    assert {"start", "finish", "duration", "processing", "date_start", "date_finish"} <= set(old)
    assert set(new) - set(old) == {"operating", "operating_reset_at"}


def test_old_portals_have_no_sender_update(live: Stage) -> None:
    live.sandbox.configure(version="old")

    assert live.refusal("messageservice.sender.update", CODE="sms", NAME="X")[:2] == (
        404,
        "ERROR_METHOD_NOT_FOUND",
    )
    assert live.result("method.get", name="messageservice.sender.update") == {
        "isExisting": False,
        "isAvailable": False,
    }


def test_an_unknown_method_is_unknown_before_anybody_looks_at_the_token(live: Stage) -> None:
    for token in ("", "nonsense"):
        assert live.refusal("messageservice.sender.rename", token)[:2] == (404, "ERROR_METHOD_NOT_FOUND")


def test_a_missing_scope_has_another_text_for_webhooks(live: Stage) -> None:
    live.sandbox.configure(scope=["crm"])
    webhook = requests.post(f"{live.sandbox.info()['webhook']}messageservice.sender.list", timeout=10).json()

    assert live.refusal("messageservice.sender.list")[1:] == (
        "insufficient_scope",
        "The request requires higher privileges than the token has",
    )
    assert webhook["error"] == "insufficient_scope"
    assert webhook["error_description"] == (
        "The request requires higher privileges than provided by the webhook token"
    )


def test_unknown_tokens_and_expired_tokens_are_told_apart(live: Stage) -> None:
    assert live.refusal("profile", "")[:2] == (401, "NO_AUTH_FOUND")
    assert live.refusal("profile", "nonsense")[:2] == (401, "invalid_token")

    live.sandbox.expire_tokens()

    assert live.refusal("profile")[:2] == (401, "expired_token")


def test_token_of_another_portal_is_not_known_here(live: Stage) -> None:
    other = live.sandbox.on(live.sandbox.create_portals()[0]["portal"])
    foreign = other.install()["fields"]["AUTH_ID"]

    assert live.refusal("profile", foreign)[1] == "invalid_token"


@pytest.mark.parametrize(
    ("column", "scope", "access", "plan"), [("docs", 403, 403, 403), ("kernel", 401, 401, 401)]
)
def test_statuses_follow_the_documentation_or_the_kernel(
    live: Stage, column: str, scope: int, access: int, plan: int
) -> None:
    live.sandbox.configure(error_statuses=column)
    employee = live.token_of(5)

    live.sandbox.configure(scope=["crm"])
    assert live.refusal("messageservice.sender.list")[:2] == (scope, "insufficient_scope")
    live.sandbox.configure(scope="*", limited_to=[6])
    assert live.refusal("profile", employee)[:2] == (access, "user_access_error")
    live.sandbox.configure(limited_to="*", rest_allowed=False)
    status, error, description = live.refusal("profile")
    assert (status, error) == (plan, "ACCESS_DENIED")
    assert "commercial plans" in description


def test_dismissed_and_demoted_users(live: Stage) -> None:
    live.sandbox.set_user(1, role="employee")
    assert live.result("profile")["ADMIN"] is False
    assert live.refusal("messageservice.sender.list")[1] == "ACCESS_DENIED"

    live.sandbox.set_user(1, role="dismissed")
    assert live.refusal("profile")[:2] == (401, "authorization_error")


def test_bucket_blocks_after_fifty_and_drains_two_a_second(live: Stage) -> None:
    live.sandbox.empty_bucket()

    def ask(_: int) -> int:
        return live.call("profile").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(60)))

    assert 50 <= statuses.count(200) <= 54
    assert statuses.count(503) == 60 - statuses.count(200)
    assert live.sandbox.counts()["rest:QUERY_LIMIT_EXCEEDED"] == statuses.count(503)


def batch(stage: Stage, commands: Any, **params: Any) -> dict[str, Any]:
    result: dict[str, Any] = stage.result("batch", cmd=commands, **params)
    return result


def test_batch_gives_each_command_its_own_result_or_error(live: Stage) -> None:
    message_id = live.sandbox.send_sms()["message_id"]
    live.sandbox.wait_rest()
    update = "messageservice.message.status.update?CODE=sms&STATUS=delivered&MESSAGE_ID="

    answer = batch(live, {"m_1": update + message_id, "m_2": f"{update}nobody", "m_3": "no.such.method"})

    assert answer["result"] == {"m_1": True}
    assert {key: error["error"] for key, error in answer["result_error"].items()} == {
        "m_2": "ERROR_MESSAGE_NOT_FOUND",
        "m_3": "ERROR_METHOD_NOT_FOUND",
    }
    assert live.sandbox.message(message_id)["status"] == "delivered"


def test_batch_shapes_maps_like_php(live: Stage) -> None:
    nothing = batch(live, {})
    numbered = batch(live, {"0": "user.admin", "1": "user.admin"})

    assert nothing["result"] == nothing["result_error"] == nothing["result_total"] == []
    assert numbered["result"] == [True, True]


def test_batch_takes_fifty_and_refuses_the_surplus_and_itself(live: Stage) -> None:
    answer = batch(live, {f"c{index}": "user.admin" for index in range(53)})
    nested = batch(live, {"inner": "batch?cmd[a]=user.admin"})

    assert len(answer["result"]) == 50
    assert {error["error"] for error in answer["result_error"].values()} == {"ERROR_BATCH_LENGTH_EXCEEDED"}
    assert nested["result_error"]["inner"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"


def test_batch_halts_only_when_asked(live: Stage) -> None:
    commands = {"bad": "no.such.method", "good": "user.admin"}

    assert batch(live, commands)["result"] == {"good": True}
    assert batch(live, commands, halt=1)["result"] == []


def test_batch_is_one_unit_for_the_bucket(live: Stage) -> None:
    live.sandbox.configure(bucket={"limit": 3, "rate": 0.001})
    live.sandbox.empty_bucket()

    answers = [
        live.call("batch", cmd={f"c{n}": "user.admin" for n in range(50)}).status_code for _ in range(4)
    ]

    assert answers == [200, 200, 200, 503]


def test_batch_in_a_form_with_an_expired_token_fails_as_a_whole(live: Stage) -> None:
    good = {"auth": live.access_token, "cmd[who]": "profile"}
    assert (
        requests.post(url_of(live, "batch"), data=good, timeout=5).json()["result"]["result"]["who"]["ID"]
        == "1"
    )

    live.sandbox.expire_tokens()

    assert live.refusal("batch", cmd={"who": "profile"})[:2] == (401, "expired_token")


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ({"error": "OVERLOAD_LIMIT"}, 503, "OVERLOAD_LIMIT"),
        ({"error": "CONNECTION_ERROR"}, 401, "Error connecting to authorization server"),
        ({"error": "PORTAL_DELETED", "status": 410}, 410, "PORTAL_DELETED"),
        ({"kind": "html"}, 502, "<html>"),
        ({"kind": "empty"}, 200, ""),
        ({"kind": "junk"}, 200, '{"result":'),
    ],
)
def test_next_call_goes_wrong_as_asked_and_the_one_after_is_well(
    live: Stage, fault: dict[str, Any], status: int, body: str
) -> None:
    live.sandbox.add_fault(method="profile", **fault)

    assert live.result("user.admin") is True
    answer = live.call("profile")

    assert answer.status_code == status
    assert body in answer.text
    assert live.result("profile")["ID"] == "1"


def test_dropped_and_lost_answers(live: Stage) -> None:
    live.sandbox.add_fault(method="profile", kind="drop")
    live.sandbox.add_fault(method="messageservice.sender.delete", kind="lost")

    for method in ("profile", "messageservice.sender.delete"):
        with pytest.raises(requests.ConnectionError):
            live.call(method, CODE="sms")

    assert live.result("messageservice.sender.list") == []


@pytest.mark.parametrize("kind", ["hang", "slow"])
def test_answers_can_be_late_or_never_come(live: Stage, kind: str) -> None:
    live.sandbox.add_fault(method="user.admin", kind=kind, seconds=0.4)

    with pytest.raises(requests.Timeout):
        requests.post(url_of(live, "user.admin"), json={"auth": live.access_token}, timeout=0.1)
    live.sandbox.add_fault(method="user.admin", kind=kind, seconds=0.1)
    if kind == "slow":
        assert live.result("user.admin") is True
    else:
        with pytest.raises(requests.ConnectionError):
            live.call("user.admin")


def test_time_limit_blocks_one_method_until_the_moment_told_before(live: Stage) -> None:
    live.sandbox.add_fault(method="profile", error="OPERATION_TIME_LIMIT", for_s=0.3)

    assert live.refusal("profile")[:2] == (429, "OPERATION_TIME_LIMIT")
    assert live.result("user.admin") is True


def test_events_are_bound_listed_tested_and_unbound(live: Stage) -> None:
    live.bind("ONAPPTEST")
    handler = f"{live.listener.url}{live.events_path}"

    again = live.refusal("event.bind", event="onAppTest", handler=handler)
    assert again == (400, "ERROR_CORE", "Unable to set event handler: Handler already binded")
    assert live.refusal("event.bind", event="ONNOTHING", handler=handler)[1] == "ERROR_EVENT_NOT_FOUND"
    assert live.result("event.get")[0]["handler"] == handler

    assert live.result("event.test", any="thing") is True
    form = live.listener.wait(live.events_path)[0].form
    assert form["event"] == "ONAPPTEST"
    assert form["data[QUERY][any]"] == "thing"

    assert live.result("event.unbind", event="ONAPPTEST", handler=handler) == {"count": 1}


def test_options_are_kept_in_the_portal(live: Stage) -> None:
    assert live.result("app.option.get") == []
    assert live.result("app.option.set", options={"a": "1"}) is True
    assert live.result("app.option.get", option="a") == "1"
    assert live.refusal("app.option.set", live.token_of(5), options={"a": "2"})[1] == "ACCESS_DENIED"


def test_app_info_of_the_portal(live: Stage) -> None:
    info = live.result("app.info")

    assert (info["STATUS"], info["INSTALLED"], info["PAYMENT_EXPIRED"], info["VERSION"]) == (
        "F",
        True,
        "N",
        1,
    )


def test_notices_need_their_scope(live: Stage) -> None:
    assert live.refusal("im.notify.personal.add", USER_ID=1, MESSAGE="Hello")[1] == "insufficient_scope"

    live.sandbox.configure(scope=["messageservice", "im"])

    assert isinstance(live.result("im.notify.personal.add", USER_ID=1, MESSAGE="Hello"), int)
    assert live.sandbox.info()["notifications"][0]["text"] == "Hello"


def test_a_notice_takes_the_place_of_the_users_earlier_one_with_its_tag(live: Stage) -> None:
    live.sandbox.configure(scope=["messageservice", "im"])

    for user, text, tag in [(1, "one", "a"), (2, "two", "a"), (1, "three", "b"), (1, "four", "a")]:
        live.result("im.notify.system.add", USER_ID=user, MESSAGE=text, TAG=tag)

    assert [notice["text"] for notice in live.sandbox.info()["notifications"]] == ["two", "three", "four"]
    assert [entry["text"] for entry in live.sandbox.ledger("notice")] == ["one", "two", "three", "four"]


def test_ledger_shows_calls_without_secrets(live: Stage) -> None:
    live.result("profile")

    entry = live.sandbox.ledger("rest", method="profile")[-1]

    assert entry["params"]["auth"] == f"{live.access_token[:6]}…"
    assert entry["outcome"] == "ok"
