from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.sandbox.stage import Stage

VALID: dict[str, Any] = {"CODE": "one", "TYPE": "SMS", "HANDLER": "https://app.example/h", "NAME": "One"}
FAILURE = "ERROR_SENDER_VALIDATION_FAILURE"


@pytest.mark.parametrize(
    ("changed", "error", "description"),
    [
        ({"CODE": ""}, FAILURE, "Empty sender code!"),
        ({"CODE": "bad code"}, FAILURE, "Wrong sender code!"),
        ({"HANDLER": ""}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "http://localhost/h"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "https://.example/h"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "ftp://app.example/h"}, "ERROR_UNSUPPORTED_PROTOCOL", "Unsupported handler protocol"),
        ({"NAME": ""}, FAILURE, "Empty sender NAME!"),
        ({"TYPE": ""}, FAILURE, "Empty sender message TYPE!"),
        ({"TYPE": "sms"}, FAILURE, "Unknown sender message TYPE!"),
        ({"CODE": "x" * 129}, "ERROR_SENDER_ADD_FAILURE", "Sender save error!"),
        ({"NAME": "x" * 501}, "ERROR_SENDER_ADD_FAILURE", "Sender save error!"),
        ({"HANDLER": f"https://app.example/{'x' * 1000}"}, "ERROR_SENDER_ADD_FAILURE", "Sender save error!"),
        # The order of the tests: code before handler before name before type.
        ({"CODE": "?", "HANDLER": "", "NAME": "", "TYPE": ""}, FAILURE, "Wrong sender code!"),
        ({"HANDLER": "x", "NAME": "", "TYPE": ""}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"NAME": "", "TYPE": ""}, FAILURE, "Empty sender NAME!"),
    ],
)
def test_sender_add_refuses_in_the_order_of_the_kernel(
    stage: Stage, changed: dict[str, str], error: str, description: str
) -> None:
    answer = stage.refusal("messageservice.sender.add", **{**VALID, **changed})

    assert answer == (400, error, description)


def test_sender_add_without_parameters_says_empty_data(stage: Stage) -> None:
    assert stage.refusal("messageservice.sender.add") == (400, FAILURE, "Empty data!")


def test_second_sender_with_the_same_code_is_refused(stage: Stage) -> None:
    assert stage.result("messageservice.sender.add", **VALID) is True

    answer = stage.refusal("messageservice.sender.add", **VALID)

    assert answer == (400, "ERROR_SENDER_ALREADY_INSTALLED", "Sender already installed!")
    assert stage.result("messageservice.sender.list") == ["one"]


@pytest.mark.parametrize(
    ("params", "error", "description"),
    [
        ({}, "ERROR_SENDER_CODE_REQUIRED", "CODE is required!"),
        ({"CODE": "sms"}, "ERROR_SENDER_OTHER_PARAMS_REQUIRED", "At least one other parameter is required!"),
        ({"CODE": "other", "NAME": "X"}, "ERROR_SENDER_NOT_FOUND", "Sender not found!"),
        ({"CODE": "sms", "HANDLER": "http://nodot/h"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"CODE": "sms", "NAME": "x" * 501}, "ERROR_SENDER_UPDATE_FAILURE", "Sender update error!"),
    ],
)
def test_sender_update_refuses(live: Stage, params: dict[str, str], error: str, description: str) -> None:
    assert live.refusal("messageservice.sender.update", **params) == (400, error, description)


def test_sender_update_changes_the_handler_of_the_next_message(live: Stage) -> None:
    moved = f"{live.handler}/moved"

    assert live.result("messageservice.sender.update", CODE="sms", HANDLER=moved) is True

    live.sandbox.send_sms()
    live.listener.wait(f"{live.handler_path}/moved")


def test_sender_delete_is_found_once(live: Stage) -> None:
    assert live.result("messageservice.sender.delete", CODE="sms") is True

    answer = live.refusal("messageservice.sender.delete", CODE="sms")

    assert answer == (400, "ERROR_SENDER_NOT_FOUND", "Sender not found!")
    assert live.result("messageservice.sender.list") == []


@pytest.mark.parametrize(
    ("params", "phrases"),
    [
        ({"NAME": "Plain", "DESCRIPTION": "D"}, {"**": ["Plain", "D"]}),
        (
            {"NAME": {"en": "A", "DE": "B"}, "DESCRIPTION": {"en": "a", "DE": "b"}},
            {"**": ["A", "a"], "en": ["A", "a"], "de": ["B", "b"]},
        ),
        # Mixed types lose the description, long language codes their row.
        ({"NAME": {"en": "A"}, "DESCRIPTION": "text"}, {"**": ["A", None], "en": ["A", None]}),
        ({"NAME": "Plain", "DESCRIPTION": {"en": "a"}}, {"**": ["Plain", None]}),
        ({"NAME": {"pt-br": "P", "en": "A"}}, {"**": ["P", None], "en": ["A", None]}),
        # A description is looked up by the untouched key of its name.
        ({"NAME": {"EN": "A"}, "DESCRIPTION": {"en": "a"}}, {"**": ["A", None], "en": ["A", None]}),
        ({"NAME": {"EN": "A"}, "DESCRIPTION": {"EN": "a"}}, {"**": ["A", "a"], "en": ["A", "a"]}),
    ],
)
def test_language_rows_are_written_like_the_kernel_does(
    stage: Stage, params: dict[str, Any], phrases: dict[str, list[str | None]]
) -> None:
    assert stage.result("messageservice.sender.add", **{**VALID, **params}) is True

    assert stage.sandbox.info()["senders"][0]["phrases"] == phrases


@pytest.mark.parametrize(
    ("params", "changed"),
    [
        ({"NAME": "New"}, {"**": ["New", None]}),
        ({"DESCRIPTION": "new"}, {"**": ["A", "new"]}),
        ({"DESCRIPTION": {"en": "new", "de": "neu"}}, {"en": ["A", "new"], "de": ["B", "neu"]}),
        ({"DESCRIPTION": {"fr": "nouveau"}}, {}),
        ({"DESCRIPTION": {"fr": "nouveau", "de": "neu"}}, {"de": ["B", "neu"]}),
        ({"NAME": {"fr": "F"}}, {"**": ["F", None], "fr": ["F", None]}),
    ],
)
def test_an_update_merges_rows_and_removes_none(
    stage: Stage, params: dict[str, Any], changed: dict[str, list[str | None]]
) -> None:
    stage.add_sender(NAME={"en": "A", "de": "B"}, DESCRIPTION={"en": "a", "de": "b"})
    before = stage.sandbox.info()["senders"][0]["phrases"]

    assert stage.result("messageservice.sender.update", CODE="sms", **params) is True

    assert stage.sandbox.info()["senders"][0]["phrases"] == {**before, **changed}


def test_codes_are_compared_without_case(live: Stage) -> None:
    again = live.refusal("messageservice.sender.add", **{**VALID, "CODE": "SMS"})
    assert again[1] == "ERROR_SENDER_ALREADY_INSTALLED"
    assert live.result("messageservice.sender.update", CODE="Sms", NAME="Changed") is True

    assert live.result("messageservice.sender.list") == ["sms"]
    assert live.result("messageservice.sender.delete", CODE="SMS") is True
    assert live.result("messageservice.sender.list") == []


def test_label_follows_the_language_and_shows_empty_brackets_where_the_card_has_no_name(stage: Stage) -> None:
    stage.add_sender(NAME={"en": "Alpha", "de": "Beta"})

    labels = {lang: stage.sandbox.senders(lang=lang)[0]["label"] for lang in ("en", "de", "fr", "hi")}

    assert labels == {
        "en": "[Example SMS] Alpha",
        "de": "[Example SMS] Beta",
        "fr": "[Example SMS] Alpha",
        "hi": "[] Alpha",
    }


@pytest.mark.parametrize("method", ["sender.add", "sender.update", "sender.list", "sender.delete"])
def test_senders_are_for_administrators(live: Stage, method: str) -> None:
    answer = live.refusal(f"messageservice.{method}", live.token_of(5), CODE="sms", NAME="X")

    assert answer == (403, "ACCESS_DENIED", "Access denied!")


def test_incoming_webhook_has_no_application(live: Stage) -> None:
    answer = requests.post(f"{live.sandbox.info()['webhook']}messageservice.sender.list", timeout=10)

    assert (answer.status_code, answer.json()["error"]) == (403, "ACCESS_DENIED")
    assert answer.json()["error_description"] == "Access denied! Application context required"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"CODE": ""}, FAILURE),
        ({"CODE": "a b"}, FAILURE),
        ({"MESSAGE_ID": ""}, "ERROR_MESSAGE_NOT_FOUND"),
        ({"STATUS": "read"}, "ERROR_MESSAGE_STATUS_INCORRECT"),
        ({"STATUS": "Delivered"}, "ERROR_MESSAGE_STATUS_INCORRECT"),
        ({"MESSAGE_ID": "0" * 32}, "ERROR_MESSAGE_NOT_FOUND"),
        ({"MESSAGE_ID": "0" * 32, "STATUS": ""}, "ERROR_MESSAGE_STATUS_INCORRECT"),
    ],
)
def test_status_update_refuses(live: Stage, changed: dict[str, str], error: str) -> None:
    message = live.sandbox.send_sms()
    params = {"CODE": "sms", "MESSAGE_ID": message["message_id"], "STATUS": "delivered", **changed}

    status, given, _ = live.refusal("messageservice.message.status.update", **params)

    assert (status, given) == (400, error)


def test_any_transition_is_taken_and_recorded(live: Stage) -> None:
    message_id = live.sandbox.send_sms()["message_id"]
    live.sandbox.wait_rest()

    for status in ("delivered", "delivered", "failed", "queued"):
        params = {"CODE": "any", "MESSAGE_ID": message_id, "STATUS": status}
        assert live.result("messageservice.message.status.update", **params) is True

    history = [(step["status"], step["by"]) for step in live.sandbox.message(message_id)["history"]]
    assert history == [
        ("pending", "portal"),
        ("sent", "portal"),
        ("delivered", "app"),
        ("failed", "app"),
        ("queued", "app"),
    ]


def test_only_the_author_or_an_administrator_updates_a_status(live: Stage) -> None:
    message_id = live.sandbox.send_sms(author=5)["message_id"]
    params = {"CODE": "sms", "MESSAGE_ID": message_id, "STATUS": "delivered"}

    assert (
        live.refusal("messageservice.message.status.update", live.token_of(6), **params)[1] == "ACCESS_DENIED"
    )
    assert live.result("messageservice.message.status.update", live.token_of(5), **params) is True
    assert live.result("messageservice.message.status.update", live.token_of(2), **params) is True


def test_messages_are_gone_after_fourteen_days(live: Stage) -> None:
    message_id = live.sandbox.send_sms()["message_id"]
    live.sandbox.wait_rest()
    live.sandbox.move_clock(14 * 86_400 + 60)
    token = live.sandbox.mint_tokens()["access_token"]

    params = {"CODE": "sms", "MESSAGE_ID": message_id, "STATUS": "delivered"}
    answer = live.refusal("messageservice.message.status.update", token, **params)

    assert answer == (400, "ERROR_MESSAGE_NOT_FOUND", "Message not found!")


def test_status_get_wants_the_internal_number(live: Stage) -> None:
    row = live.sandbox.send_sms()
    live.sandbox.wait_rest()

    assert live.result("messageservice.message.status.get", MESSAGE_ID=row["id"]) == "sent"
    assert live.refusal("messageservice.message.status.get", MESSAGE_ID=row["message_id"])[1] == (
        "ERROR_MESSAGE_NOT_FOUND"
    )
