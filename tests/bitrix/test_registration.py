"""Senders and events are brought in step, whatever the portal did with them meanwhile."""

from __future__ import annotations

import pytest

from app.bitrix.errors import SenderNotFound
from app.domain.portals import PortalState
from app.registration import reconcile
from app.store.portals import senders
from tests.worlds.portals import PortalWorld

LANGUAGES = ["ar", "br", "de", "en", "fr", "it", "la", "pl", "ru", "tr", "ua"]


def phrases(world: PortalWorld, code: str = "sms") -> dict[str, list[str]]:
    """What the portal keeps of a sender, by language; "**" is for everybody else."""
    [sender] = [each for each in world.portal.info()["senders"] if each["code"] == code]
    found: dict[str, list[str]] = sender["phrases"]
    return found


def commanded(world: PortalWorld, *words: str) -> str:
    result = world.app.test_cli_runner().invoke(args=list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_installation_registers_the_sender_in_every_language_english_first(installed: PortalWorld) -> None:
    found = phrases(installed)

    assert sorted(found) == ["**", *LANGUAGES]
    assert found["**"] == found["en"]
    assert all(description for _, description in found.values())
    assert {row["event"] for row in installed.portal.info()["events"]} == {
        "ONAPPINSTALL",
        "ONAPPUPDATE",
        "ONAPPUNINSTALL",
        "ONAPPPAYMENT",
    }


def test_equal_registration_is_not_sent_again(installed: PortalWorld) -> None:
    installed.portal.clear_ledger()

    done = reconcile(installed.services, installed.row)

    assert not done.changed
    assert [entry["method"] for entry in installed.portal.ledger("rest")] == [
        "messageservice.sender.list",
        "event.get",
    ]


def test_update_of_the_app_brings_the_sender_back_and_robots_go_on(installed: PortalWorld) -> None:
    installed.portal.update(new_token=True)
    assert installed.portal.senders() == []

    installed.work()  # the event's job

    # What a robot refers to is <client_id>|<CODE>, and neither changed.
    robot = installed.portal.send_sms(to="12", sender="sms", origin="robot", auth="none")
    installed.work()
    assert robot["status"] != "error"
    assert installed.told(robot["message_id"]) == ["failed"]


def test_update_is_noticed_where_its_event_never_comes(installed: PortalWorld) -> None:
    installed.portal.set_queue(drop=1.0)
    installed.portal.update(all_handlers=True)
    installed.portal.set_queue(drop=0.0)

    installed.pass_time(hours=30)
    installed.sweep()

    assert [sender["code"] for sender in installed.portal.senders()] == ["sms"]
    assert len(installed.portal.info()["events"]) == 4


@pytest.mark.parametrize(
    ("name", "description", "kept"),
    [
        ("Plain", "Words", {"**": ["Plain", "Words"]}),
        (
            {"de": "Name", "en": "Name E"},
            {"de": "Text", "en": "Text E"},
            {"**": ["Name E", "Text E"], "en": ["Name E", "Text E"], "de": ["Name", "Text"]},
        ),
        # The portal would lose the description of these without a word.
        ({"en": "Map"}, "Plain", {"**": ["Map", "Plain"], "en": ["Map", "Plain"]}),
        ("Plain", {"en": "Map"}, {"**": ["Plain", "Map"], "en": ["Plain", "Map"]}),
        (
            {"en": "Name"},
            {"en": "Text", "fr": "Texte"},
            {"**": ["Name", "Text"], "en": ["Name", "Text"], "fr": ["Name", "Texte"]},
        ),
    ],
)
def test_texts_are_told_so_that_none_is_lost(
    installed: PortalWorld, name: object, description: object, kept: dict[str, list[str]]
) -> None:
    installed.client().add_sender("sms_9", "http://127.0.0.1/sms/x", name, description)

    assert phrases(installed, "sms_9") == kept


def test_update_takes_any_one_of_its_parameters(installed: PortalWorld) -> None:
    client = installed.client()
    client.add_sender("sms_9", "http://127.0.0.1/sms/x", "Name", "Text")

    client.update_sender("sms_9", handler="http://127.0.0.1/sms/y")
    client.update_sender("sms_9", name={"EN": "Name", "de": "Name D"})
    client.update_sender("sms_9", description={"de": "Text D"})

    [sender] = [each for each in installed.portal.info()["senders"] if each["code"] == "sms_9"]
    assert sender["handler"] == "http://127.0.0.1/sms/y"
    assert sender["phrases"]["de"] == ["Name D", "Text D"]


@pytest.mark.parametrize("texts", [{}, {"name": {"pt-br": "Nome"}}, {"name": " "}, {"name": {}}])
def test_update_that_the_portal_would_drop_is_refused_here(
    installed: PortalWorld, texts: dict[str, object]
) -> None:
    installed.portal.clear_ledger()

    with pytest.raises(ValueError):
        installed.client().update_sender("sms", **texts)
    assert installed.portal.ledger("rest") == []


def test_update_of_an_unknown_sender_says_so_by_name(installed: PortalWorld) -> None:
    with pytest.raises(SenderNotFound):
        installed.client().update_sender("sms_9", name="Name")


def test_portal_without_update_gets_delete_and_add_only_when_something_changed(world: PortalWorld) -> None:
    world.portal.configure(version="old")
    world.install()
    assert world.row.state is PortalState.ACTIVE
    assert world.row.registration["sender_update"] is False
    reconcile(world.services, world.row)
    assert world.calls("messageservice.sender.delete") == 0

    commanded(world, "senders", "change", world.row.member_id, "sms", "--name", "Renamed")

    assert world.calls("messageservice.sender.delete") == 1
    assert phrases(world)["en"][0] == "Renamed"


def test_several_senders_have_codes_of_their_own_for_ever(installed: PortalWorld) -> None:
    member_id = installed.row.member_id
    commanded(installed, "senders", "add", member_id, "ACME", "--name", "en=Acme", "--name", "de=Akme")
    commanded(installed, "senders", "add", member_id, "+4915100000000")
    commanded(installed, "senders", "remove", member_id, "sms_3")
    commanded(installed, "senders", "add", member_id, "OTHER")

    assert sorted(each["code"] for each in installed.portal.senders()) == ["sms", "sms_2", "sms_4"]
    assert phrases(installed, "sms_2")["de"][0] == "Akme"
    assert phrases(installed, "sms_4")["de"][0] == "SMS Provider OTHER"
    assert senders.originator_for(installed.row.id, "sms_2") == "ACME"


def test_renamed_sender_keeps_its_code(installed: PortalWorld) -> None:
    installed.portal.clear_ledger()

    commanded(installed, "senders", "change", installed.row.member_id, "sms", "--name", "Our SMS")

    assert phrases(installed)["de"][0] == "Our SMS"
    assert installed.calls("messageservice.sender.update", "ok") == 1
    assert installed.calls("messageservice.sender.add") == 0


def test_first_sender_cannot_be_removed(installed: PortalWorld) -> None:
    result = installed.app.test_cli_runner().invoke(
        args=["senders", "remove", installed.row.member_id, "sms"]
    )

    assert result.exit_code == 1
    assert "stays" in result.output


def test_journal_of_calls_can_be_read_and_holds_no_secret(installed: PortalWorld) -> None:
    from_frame = installed.portal.ledger("rest")
    assert from_frame, "nothing was called"

    printed = commanded(installed, "portals", "calls", installed.row.member_id, "--limit", "1000")

    assert "messageservice.sender.add  ok" in printed
    assert '"auth"' not in printed or '"***"' in printed
    assert "/sms/***" in printed
    token = installed.portal.mint_tokens()["access_token"]
    assert token not in printed

    added = ("portals", "calls", installed.row.member_id, "--method", "messageservice.sender.add")
    installed.pass_time(days=3, hours=23)
    installed.engine.hints.clear()
    installed.sweep()
    assert "messageservice.sender.add  ok" in commanded(installed, *added)

    installed.pass_time(hours=2)
    installed.sweep()
    assert "no call in the last four days" in commanded(installed, *added)


def test_portal_that_cannot_list_its_events_is_installed_all_the_same(installed: PortalWorld) -> None:
    installed.portal.add_fault(method="event.get", error="ERROR_METHOD_NOT_FOUND", count=0)

    done = reconcile(installed.services, installed.row)

    assert installed.row.registration["refused_events"] == {}
    assert set(done.bound) <= {"ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT"}
    assert installed.row.state is PortalState.ACTIVE
    assert len(installed.portal.info()["events"]) == 4
