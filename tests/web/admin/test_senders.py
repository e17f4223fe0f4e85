"""The senders page: how each sender stands in the portal, and what an administrator changes there."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from app.store.portals import senders
from tests.worlds.visitor import Visitor


def _phrases(admin: Visitor, code: str) -> dict[str, list[str]]:
    """What the portal keeps of a sender, by language."""
    found: dict[str, list[str]] = next(
        each["phrases"] for each in admin.sandbox.info()["senders"] if each["code"] == code
    )
    return found


def _codes(admin: Visitor) -> list[str]:
    return sorted(each["code"] for each in admin.sandbox.info()["senders"])


def _text(answer: Any) -> str:
    return html.unescape(re.sub(r"<[^>]+>|\s+", " ", answer.text))


def test_the_first_sender_is_there_in_step_and_stays(admin: Visitor) -> None:
    shown = admin.get("/ui/senders")

    assert "Up to date" in shown.text
    assert "/ui/senders/sms/remove" not in shown.text
    assert admin.get("/ui/senders/sms/remove").status_code == 404
    assert admin.submit("/ui/senders/sms/remove").status_code == 404
    assert _codes(admin) == ["sms"]


def test_an_added_sender_is_in_the_portal_at_once(admin: Visitor) -> None:
    answer = admin.submit(
        "/ui/senders/new",
        **{"originator": "ACME", "name": "Acme", "description": "Orders", "name-de": "Akme GmbH"},
    )

    assert answer.status_code == 200
    assert "The sender was added" in answer.text
    assert answer.text.count("Up to date") == 2
    assert _phrases(admin, "sms_2")["**"] == ["Acme", "Orders"]
    assert _phrases(admin, "sms_2")["de"] == ["Akme GmbH", "Orders"]
    assert senders.originator_for(admin.portal.id, "sms_2") == "ACME"


def test_a_sender_without_texts_has_the_products_own(admin: Visitor) -> None:
    admin.submit("/ui/senders/new", originator="+4915100000000")

    assert _phrases(admin, "sms_2")["de"][0] == "SMS Provider +4915100000000"


def test_a_renamed_sender_keeps_its_code_and_the_form_keeps_its_languages(admin: Visitor) -> None:
    admin.submit("/ui/senders/new", **{"originator": "ACME", "name": "Acme", "name-ja": "アクメ"})
    form = admin.get("/ui/senders/sms_2").text
    typed = dict(re.findall(r'<input type="text" id="([\w-]+)"[^>]*? value="([^"]*)"', form))

    answer = admin.submit("/ui/senders/sms_2", **{**typed, "name": "Acme Ltd."})

    assert answer.status_code == 200
    assert _codes(admin) == ["sms", "sms_2"]
    assert _phrases(admin, "sms_2")["en"][0] == "Acme Ltd."
    assert _phrases(admin, "sms_2")["ja"][0] == "アクメ"


def test_a_removal_asks_first_and_the_code_never_comes_back(admin: Visitor) -> None:
    admin.submit("/ui/senders/new", originator="ACME")

    question = admin.get("/ui/senders/sms_2/remove")
    unchanged = _codes(admin)
    answer = admin.submit("/ui/senders/sms_2/remove")
    admin.submit("/ui/senders/new", originator="ACME")

    assert "Automation rules and templates that use it stop working" in question.text
    assert unchanged == ["sms", "sms_2"]
    assert answer.status_code == 200
    assert _codes(admin) == ["sms", "sms_3"]
    assert admin.get("/ui/senders/sms_2").status_code == 404


@pytest.mark.parametrize("originator", ["ACME-TRADING", "12", "+1234567890123456", "Bäckerei", "a\nb", "1-2"])
def test_an_originator_that_no_network_carries_is_refused(admin: Visitor, originator: str) -> None:
    answer = admin.submit("/ui/senders/new", originator=originator, name="Kept <typed>")

    assert answer.status_code == 422
    assert 'id="originator-err"' in answer.text
    assert 'value="Kept &lt;typed&gt;"' in answer.text
    assert _codes(admin) == ["sms"]


@pytest.mark.parametrize("originator", ["", "ACME", "Acme & Co.", "+491510000", "12345", "MG" + "0a" * 16])
def test_an_originator_that_networks_carry_is_taken(admin: Visitor, originator: str) -> None:
    assert admin.submit("/ui/senders/new", originator=originator).status_code == 200


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": "x" * 501}, "name"),
        ({"description": "x" * 1001}, "description"),
        ({"name-de": "Nur deutsch"}, "name"),
        ({"name": "Acme", "name-pt-br": "Nome"}, "name-pt-br"),
        ({"name": "Acme", "description": "Text", "description-de": "x" * 1001}, "description-de"),
    ],
)
def test_a_text_that_the_portal_would_drop_is_refused(
    admin: Visitor, typed: dict[str, str], field: str
) -> None:
    answer = admin.submit("/ui/senders/new", **typed)

    assert answer.status_code == 422
    assert f'id="{field}-err"' in answer.text
    assert _codes(admin) == ["sms"]


def test_the_command_has_the_same_rules(admin: Visitor) -> None:
    runner = admin.app.test_cli_runner()
    member_id = admin.member_id

    wrong = [
        runner.invoke(args=["senders", "add", member_id, "ACME-TRADING"]),
        runner.invoke(args=["senders", "change", member_id, "sms", "--name", "d1=Name"]),
    ]

    assert [result.exit_code for result in wrong] == [1, 1]
    assert "up to 11" in wrong[0].output
    assert "two letters" in wrong[1].output
    assert len(senders.of_portal(admin.portal.id)) == 1


def test_more_senders_than_a_portal_can_have_are_refused(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.portals.senders.LIMIT", 1)

    answer = admin.submit("/ui/senders/new", originator="ACME")

    assert answer.status_code == 422
    assert "Nothing was added" in answer.text
    assert 'value="ACME"' in answer.text


# --- how the portal's list differs


def test_a_missing_sender_is_seen_and_registered_again(admin: Visitor) -> None:
    admin.sandbox.update()

    missing = admin.get("/ui/senders")
    mended = admin.submit("/ui/senders")

    assert "Missing in Bitrix24" in missing.text
    assert "All senders are registered" in mended.text
    assert _codes(admin) == ["sms"]


def test_a_change_that_the_portal_did_not_hear_is_saved_and_seen(admin: Visitor) -> None:
    admin.sandbox.add_fault(method="messageservice.sender.update", kind="html", status=502, count=0)

    saved = admin.submit("/ui/senders/sms", name="Our SMS")
    shown = admin.get("/ui/senders")

    assert saved.status_code == 502
    assert "Saved here, but not in Bitrix24 yet" in saved.text
    assert "Our SMS" in saved.text
    assert "Changed here, not in Bitrix24 yet" in shown.text


def test_a_refusal_is_told_in_plain_words(admin: Visitor) -> None:
    admin.sandbox.update()
    admin.sandbox.add_fault(method="messageservice.sender.add", error="ERROR_WRONG_HANDLER_URL", count=0)
    admin.submit("/ui/senders")

    shown = admin.get("/ui/senders")

    assert "Refused by Bitrix24" in shown.text
    assert "PUBLIC_URL must be an address that Bitrix24 can call" in _text(shown)


def test_a_removed_sender_that_is_still_there_is_seen(admin: Visitor) -> None:
    admin.submit("/ui/senders/new", originator="ACME")
    admin.sandbox.add_fault(method="messageservice.sender.delete", kind="html", status=502, count=0)

    admin.submit("/ui/senders/sms_2/remove")

    assert "Removed here, still in Bitrix24" in admin.get("/ui/senders").text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "html", "status": 502}, "Bitrix24 could not be asked"),
        ({"error": "insufficient_scope"}, "The app lacks the right to register SMS providers"),
        ({"error": "ACCESS_DENIED"}, "Bitrix24 refused your rights"),
    ],
)
def test_a_portal_that_does_not_tell_leaves_the_list_readable(
    admin: Visitor, fault: dict[str, Any], words: str
) -> None:
    admin.sandbox.add_fault(method="messageservice.sender.list", count=0, **fault)

    answer = admin.get("/ui/senders")

    assert answer.status_code == 200
    assert words in answer.text
    assert "Not compared" in answer.text
    assert "Up to date" not in answer.text


def test_nobody_reaches_the_senders_of_another_portal(admin: Visitor, stranger: Visitor) -> None:
    admin.submit("/ui/senders/new", originator="ACME")

    answers = [
        stranger.get("/ui/senders/sms_2"),
        stranger.submit("/ui/senders/sms_2", name="Mine"),
        stranger.submit("/ui/senders/sms_2/remove"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert "ACME" not in stranger.get("/ui/senders").text
    assert _codes(admin) == ["sms", "sms_2"]


def test_hostile_texts_are_shown_as_they_are(admin: Visitor) -> None:
    hostile = "\"><script>alert('x')</script>"

    answer = admin.submit("/ui/senders/new", originator="ACME", name=hostile, description=hostile)

    for text in (
        answer.text,
        admin.get("/ui/senders/sms_2").text,
        admin.get("/ui/senders/sms_2/remove").text,
    ):
        assert "<script>" not in text
    assert hostile in html.unescape(answer.text)


def test_a_portal_with_an_authorization_server_of_its_own_reads_what_to_do(visitor: Visitor) -> None:
    opening = visitor.opening("/install")
    opening["form"]["AUTH_ID"] = "unknown" * 4
    opening["form"]["SERVER_ENDPOINT"] = "https://oauth.example.org/rest/"

    answer = visitor.post("/install", opening)

    assert answer.status_code == 403
    assert "B24_OAUTH_SERVERS" in answer.text
