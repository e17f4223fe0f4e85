from __future__ import annotations

import time

import pytest

from sandbox.portal.phones import normalize_phone
from tests.sandbox.stage import Stage


def test_message_from_a_card_carries_what_the_kernel_sends(live: Stage) -> None:
    message = live.sandbox.send_sms(to="+49 151 12345678", text="Hello 👋\r\nyou")

    got = live.listener.wait(live.handler_path)[0]

    assert got.headers["HTTP_USER_AGENT"] == "Bitrix24 Webhook Engine"
    form = got.form
    assert "event" not in form
    assert form["message_id"] == message["message_id"]
    assert len(form["message_id"]) == 32
    assert form["message_to"] == form["properties[phone_number]"] == "+4915112345678"
    assert form["message_body"] == form["properties[message_text]"] == "Hello 👋\r\nyou"
    assert (form["type"], form["code"], form["module_id"]) == ("SMS", "sms", "crm")
    assert form["bindings[0][OWNER_TYPE_ID]"] == "3"
    assert abs(int(form["ts"]) - time.time()) < 5
    assert form["auth[user_id]"] == "5"
    assert form["auth[member_id]"] == live.info["member_id"]
    assert form["auth[application_token]"] == live.opening["fields"]["APPLICATION_TOKEN"]
    assert "auth[access_token]" in form
    assert "auth[refresh_token]" not in form


def test_token_in_the_webhook_is_the_authors(live: Stage) -> None:
    live.sandbox.send_sms(author=5)
    token = live.listener.wait(live.handler_path)[0].form["auth[access_token]"]

    assert live.result("profile", token)["ID"] == "5"


@pytest.mark.parametrize(
    ("origin", "author", "module", "shape"),
    [
        ("robot", 6, "bizproc", "full"),
        ("marketing", 1, "sender", "full"),
        ("notice", 0, "crm", "none"),
        ("system", 0, None, "none"),
    ],
)
def test_origin_decides_author_module_and_auth(
    live: Stage, origin: str, author: int, module: str | None, shape: str
) -> None:
    message = live.sandbox.send_sms(origin=origin)

    form = live.listener.wait(live.handler_path)[0].form

    assert message["author"] == author
    assert form.get("module_id") == module
    live.sandbox.wait_rest()
    assert live.sandbox.ledger("sms")[0]["auth"] == shape
    assert any(name.startswith("auth") for name in form) is (shape == "full")


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ("full", {"access_token", "application_token", "member_id", "client_endpoint", "user_id", "expires"}),
        ("system", {"application_token", "member_id", "client_endpoint", "server_endpoint", "domain"}),
        ("bare", {"member_id", "client_endpoint", "server_endpoint", "domain"}),
        ("none", set()),
    ],
)
def test_shapes_of_auth_on_request(live: Stage, shape: str, fields: set[str]) -> None:
    live.sandbox.send_sms(auth=shape, author=1)

    form = live.listener.wait(live.handler_path)[0].form

    given = {name[5:-1] for name in form if name.startswith("auth[")}
    assert given >= fields if shape == "full" else given == fields


def test_author_without_access_leaves_the_system_shape(live: Stage) -> None:
    live.sandbox.set_user(5, role="dismissed")

    live.sandbox.send_sms(author=5)

    form = live.listener.wait(live.handler_path)[0].form
    assert "auth[access_token]" not in form
    assert "auth[application_token]" in form


def test_fields_can_be_forged_and_left_out(live: Stage) -> None:
    live.sandbox.send_sms(extra={"auth": {"application_token": "forged"}, "more": "x"}, omit=["module_id"])

    form = live.listener.wait(live.handler_path)[0].form

    assert form["auth[application_token]"] == "forged"
    assert form["more"] == "x"
    assert "module_id" not in form


def test_status_sent_is_written_after_the_hand_over_and_overwrites_an_early_report(live: Stage) -> None:
    live.sandbox.configure(races={"sent_delay_s": 0.4})
    message_id = live.sandbox.send_sms()["message_id"]
    live.listener.wait(live.handler_path)
    params = {"CODE": "sms", "MESSAGE_ID": message_id, "STATUS": "delivered"}

    assert live.result("messageservice.message.status.update", **params) is True
    assert live.sandbox.message(message_id)["status"] == "delivered"

    live.sandbox.wait_rest()
    assert live.sandbox.message(message_id)["status"] == "sent"


@pytest.mark.parametrize("why", ["direct", "old"])
def test_external_id_is_stored_late_in_direct_sends_and_old_portals(live: Stage, why: str) -> None:
    live.sandbox.configure(races={"id_delay_s": 0.4}, version="old" if why == "old" else "new")
    message_id = live.sandbox.send_sms(direct=why == "direct")["message_id"]
    live.listener.wait(live.handler_path)
    params = {"CODE": "sms", "MESSAGE_ID": message_id, "STATUS": "delivered"}

    early = live.refusal("messageservice.message.status.update", **params)
    live.sandbox.wait_rest()

    assert early[1] == "ERROR_MESSAGE_NOT_FOUND"
    assert live.result("messageservice.message.status.update", **params) is True


def test_without_races_a_message_is_sent_at_once(live: Stage) -> None:
    live.sandbox.configure(races={"enabled": False})

    assert live.sandbox.send_sms(direct=True)["status"] == "sent"


def test_copies_are_posted_at_the_same_time_under_one_id(live: Stage) -> None:
    live.listener.delay_s = 1.0
    started = time.monotonic()
    live.sandbox.send_sms(copies=4)

    forms = [item.form for item in live.listener.wait(live.handler_path, 4)]

    assert time.monotonic() - started < 3
    assert len({form["message_id"] for form in forms}) == 1


def test_queue_posts_once_and_records_code_and_latency(live: Stage) -> None:
    live.listener.status, live.listener.delay_s = 500, 0.05
    message_id = live.sandbox.send_sms()["message_id"]
    live.sandbox.wait_rest()
    time.sleep(0.2)

    row = live.sandbox.message(message_id)

    assert len(live.listener.at(live.handler_path)) == 1
    assert [post["status"] for post in row["posts"]] == [500]
    assert row["posts"][0]["seconds"] >= 0.05
    assert row["status"] == "sent"  # the portal never learns
    assert live.sandbox.ledger("sms", outcome=500)[0]["latency_ms"] >= 50


def test_handler_that_is_down_loses_the_message(live: Stage) -> None:
    live.result("messageservice.sender.update", CODE="sms", HANDLER="http://127.0.0.1:1/none")

    live.sandbox.send_sms()
    live.sandbox.wait_rest()

    entry = live.sandbox.ledger("sms")[0]
    assert (entry["outcome"], entry["problem"]) == (0, "ConnectionRefusedError")


def test_repeated_run_of_the_portal_posts_the_same_id_again(live: Stage) -> None:
    message_id = live.sandbox.send_sms()["message_id"]

    live.sandbox.repeat_sms(message_id)

    ids = [item.form["message_id"] for item in live.listener.wait(live.handler_path, 2)]
    assert ids == [message_id, message_id]


def test_queue_can_drop_duplicate_delay_and_pause(live: Stage) -> None:
    live.sandbox.set_queue(drop=1)
    live.sandbox.send_sms()
    live.sandbox.wait_rest()
    assert live.listener.at(live.handler_path) == []
    assert live.sandbox.counts()["dropped"] == 1

    live.sandbox.set_queue(drop=0, duplicate=1)
    live.sandbox.send_sms()
    live.listener.wait(live.handler_path, 2)

    live.sandbox.set_queue(duplicate=0, delay_s=0.3)
    live.sandbox.send_sms()
    assert len(live.listener.at(live.handler_path)) == 2
    live.listener.wait(live.handler_path, 3)

    live.sandbox.set_queue(delay_s=0, paused=True)
    live.sandbox.send_sms()
    time.sleep(0.1)
    assert len(live.listener.at(live.handler_path)) == 3
    live.sandbox.set_queue(paused=False)
    live.listener.wait(live.handler_path, 4)


def test_queue_can_change_the_order(live: Stage) -> None:
    live.sandbox.set_queue(reorder_s=0.4)
    sent = [live.sandbox.send_sms(text=str(number))["message_id"] for number in range(12)]

    got = [item.form["message_id"] for item in live.listener.wait(live.handler_path, 12)]

    assert sorted(got) == sorted(sent)
    assert got != sent


def test_message_without_sender_ends_as_error_without_a_call(live: Stage) -> None:
    row = live.sandbox.send_sms(sender="vanished")

    assert (row["status"], row["error"]) == ("error", "Sender is not registered")
    assert live.listener.at(live.handler_path) == []


def test_sender_works_before_the_installation_is_finished(stage: Stage) -> None:
    stage.add_sender()

    stage.sandbox.send_sms()

    stage.listener.wait(stage.handler_path)


def test_campaign_counts_answers_and_statuses(live: Stage) -> None:
    campaign = live.sandbox.campaign(40, rate=400, text="No. {n}", to="+12025550100")

    progress = live.sandbox.wait_campaign(campaign)

    assert (progress["sent"], progress["answers"], progress["statuses"]) == (40, {"200": 40}, {"sent": 40})
    assert live.sandbox.count_messages(campaign=campaign)["count"] == 40
    assert {item.form["message_to"] for item in live.listener.at(live.handler_path)} == {
        f"+{12025550100 + number}" for number in range(40)
    }


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("+4915112345678", "+4915112345678"),
        ("0171 1234567", "+1711234567"),
        ("12345", "12345"),
        ("555-123", "555-123"),
        ("8 (912) 345-67-89", "+79123456789"),
        ("+86 139 1234 5678", "+8613912345678"),
        ("0049 30 1234567", "+49301234567"),
        ("011 44 20 7946 0958", "+442079460958"),
        ("+49301234567,12", "+49301234567,12"),
        ("801234567890", "+801234567890"),
    ],
)
def test_numbers_are_normalised_like_the_kernel_does(raw: str, number: str) -> None:
    assert normalize_phone(raw) == number
