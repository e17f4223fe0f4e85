"""What a portal is told of its senders: every language always, one process at a time, nothing for a dead
installation. Read as users read it: the label and description in their own language.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result

from app.bitrix.client import PortalClient
from app.domain.retry import Timing
from app.registration import InPortal, NotNow, compare, reconcile
from app.store.database import utcnow, writing
from app.store.portals import portals, senders
from app.store.tables import portals as portals_table
from app.store.upkeep import installations
from app.words.sender_names import descriptions as product_descriptions
from app.words.sender_names import languages
from tests.worlds.portals import PortalWorld, portal_world
from tests.worlds.product import a_portal, product

READERS = (*languages(), "nl")
PRODUCT = "SMS Provider"


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    with portal_world() as made:
        yield made


@pytest.fixture
def installed(world: PortalWorld) -> PortalWorld:
    world.install()
    return world


def run(world: PortalWorld, *args: str) -> Result:
    return world.app.test_cli_runner().invoke(args=["senders", args[0], world.row.member_id, *args[1:]])


def commanded(world: PortalWorld, *args: str) -> None:
    result = run(world, *args)
    assert result.exit_code == 0, result.output


def names(world: PortalWorld, code: str = "sms") -> dict[str, str]:
    """What users read in their list of senders."""
    return {language: _read(world, code, language)["label"].partition("] ")[2] for language in READERS}


def descriptions(world: PortalWorld, code: str = "sms") -> dict[str, str]:
    return {language: _read(world, code, language)["description"] for language in READERS}


def _read(world: PortalWorld, code: str, language: str) -> dict[str, Any]:
    found = world.portal.senders(lang=language)
    return next(sender for sender in found if sender["code"] == code)


def everybody(text: str, **others: str) -> dict[str, str]:
    return {**dict.fromkeys(READERS, text), **others}


def codes(world: PortalWorld) -> list[str]:
    return sorted(sender["code"] for sender in world.portal.senders())


def hook(
    monkeypatch: pytest.MonkeyPatch, method: str, *, before: Callable[[], Any] | None = None,
    after: Callable[[], Any] | None = None,
) -> None:  # fmt: skip
    """Something happens once, right before or after one kind of call to the portal."""
    original = getattr(PortalClient, method)
    deeds = {"before": before, "after": after}

    def called(self: PortalClient, *args: Any, **kwargs: Any) -> Any:
        if (deed := deeds.pop("before", None)) is not None:
            deed()
        result = original(self, *args, **kwargs)
        if (deed := deeds.pop("after", None)) is not None:
            deed()
        return result

    monkeypatch.setattr(PortalClient, method, called)


# --- every language, always


def test_users_of_each_language_read_the_last_words_after_a_chain_of_changes(
    installed: PortalWorld,
) -> None:
    assert len(READERS) >= 11
    in_step = {"sms": InPortal.IN_STEP}
    own = everybody(PRODUCT)
    own_descriptions = {
        language: product_descriptions().get(language, product_descriptions()["en"]) for language in READERS
    }
    steps: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("--name", "Our SMS"), everybody("Our SMS")),
        (("--name", "nl=Onze", "--name", "DE=Unsere"), everybody("Our SMS", nl="Onze", de="Unsere")),
        (("--name", "fr=Nos SMS"), everybody("Our SMS", nl="Onze", de="Unsere", fr="Nos SMS")),
        (("--name", "nl="), everybody("Our SMS", de="Unsere", fr="Nos SMS")),
        (("--name", "en=Acme"), everybody("Acme", de="Unsere", fr="Nos SMS")),
        (("--name", "Plain again"), everybody("Plain again")),
        (("--name", ""), own),
        (("--name", "de=Nur hier"), {**own, "de": "Nur hier"}),
    ]
    assert names(installed) == own

    for options, expected in steps:
        commanded(installed, "change", "sms", *options)

        assert names(installed) == expected, options
        assert compare(installed.services, installed.row) == in_step
        assert descriptions(installed) == own_descriptions

    commanded(installed, "change", "sms", "--description", "Words")
    commanded(installed, "change", "sms", "--description", "nl=Woorden")
    assert descriptions(installed) == everybody("Words", nl="Woorden")
    assert names(installed) == {**own, "de": "Nur hier"}


def test_a_language_is_remembered_when_the_telling_itself_got_lost(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal took it and its answer never came: the language is there all the same."""

    def lost() -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        hook(patch, "put_sender", after=lost)
        run(installed, "change", "sms", "--name", "nl=Onze")
    assert names(installed)["nl"] == "Onze"

    installed.pass_time(seconds=61)  # the dead process's turn ends
    commanded(installed, "change", "sms", "--name", "")

    assert names(installed) == everybody(PRODUCT)


def test_words_told_by_a_killed_process_do_not_pass_for_the_ones_before(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        hook(patch, "put_sender", after=lost)
        run(installed, "change", "sms", "--name", "Halfway")
    senders.change(installed.row.id, "sms", name={}, now=installed.now())
    assert names(installed) == everybody("Halfway")

    installed.pass_time(seconds=61)
    installed.sweep()

    assert names(installed) == everybody(PRODUCT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "pt-br=Nome"), "two letters"),
        (("--name", "zh_cn=名"), "two letters"),
        (("--name", "por=Nome"), "br (Portuguese of Brazil)"),
        (("--name", "d1=Name"), "two letters"),
        (("--name", "de=Name", "--name", "Plain"), "not: Plain"),
        ((), "nothing to change"),
    ],
)
def test_a_language_that_the_portal_would_drop_is_refused_by_the_command(
    installed: PortalWorld, options: tuple[str, ...], said: str
) -> None:
    result = run(installed, "change", "sms", *options)

    assert result.exit_code == 1
    assert said in result.output
    assert names(installed) == everybody(PRODUCT)


def test_a_plain_text_may_hold_an_equals_sign(installed: PortalWorld) -> None:
    commanded(installed, "change", "sms", "--name", "Fast & good = ours")

    assert names(installed) == everybody("Fast & good = ours")


# --- one at a time


def test_a_second_reconcile_does_nothing_while_the_first_is_at_it(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def second() -> None:
        with pytest.raises(NotNow, match="RECONCILING"):
            reconcile(installed.services, installed.row, wait_s=0)
        seen.append(installed.calls("messageservice.sender.list"))

    installed.portal.clear_ledger()
    hook(monkeypatch, "sender_codes", after=second)
    reconcile(installed.services, installed.row)

    assert seen == [1]


def test_words_changed_while_the_portal_is_told_are_told_too(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal_id = installed.row.id
    hook(
        monkeypatch,
        "put_sender",
        before=lambda: senders.change(portal_id, "sms", name="Newest", now=installed.now()),
    )

    commanded(installed, "change", "sms", "--name", "Older")

    assert names(installed) == everybody("Newest")
    assert compare(installed.services, installed.row) == {"sms": InPortal.IN_STEP}


def test_words_of_one_who_was_paused_for_long_do_not_stay(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their turn was over, somebody else told newer words, and then the old call went out after all."""

    def paused() -> None:
        installed.pass_time(seconds=120)
        commanded(installed, "change", "sms", "--name", "Newer")

    hook(monkeypatch, "put_sender", before=paused)
    late = run(installed, "change", "sms", "--name", "Older")
    assert names(installed) == everybody("Older")

    installed.sweep()

    assert late.exit_code == 1
    assert names(installed) == everybody("Newer")


def test_a_change_that_nobody_told_is_told_by_the_next_sweep(installed: PortalWorld) -> None:
    senders.change(installed.row.id, "sms", name="Kept", now=installed.now())
    installed.sweep()
    assert names(installed) == everybody("Kept")

    added = senders.add(installed.row.id, originator="ACME", name={}, description={}, now=installed.now())
    installed.sweep()
    assert codes(installed) == ["sms", added]


@pytest.mark.parametrize("when", ["sender_codes", "before", "after"])
def test_a_sender_removed_meanwhile_never_comes_back(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    commanded(installed, "add", "ACME")
    installed.portal.update()  # the portal has dropped them all

    def removed() -> None:
        senders.remove(installed.row.id, "sms_2", now=installed.now())

    def add(self: PortalClient, code: str, *texts: Any) -> None:
        if code == "sms_2" and when == "before":
            removed()
        original(self, code, *texts)
        if code == "sms_2" and when == "after":
            removed()

    original = PortalClient.put_sender_anew
    monkeypatch.setattr(PortalClient, "put_sender_anew", add)
    if when == "sender_codes":
        hook(monkeypatch, "sender_codes", after=removed)
    reconcile(installed.services, installed.row)

    assert codes(installed) == ["sms"]


def test_an_added_sender_is_there_once_after_a_double_click(installed: PortalWorld) -> None:
    for _ in range(2):
        commanded(installed, "add", "ACME", "--name", "Acme")
    commanded(installed, "add", "ACME", "--name", "Other")

    assert codes(installed) == ["sms", "sms_2", "sms_3"]


@pytest.mark.slow
def test_senders_added_at_once_have_codes_of_their_own(tmp_path: Path, postgres_url: str) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        portal = a_portal()
        together, found = threading.Barrier(8), []

        def add(number: int) -> None:
            with app.app_context():
                together.wait()
                found.append(
                    senders.add(portal.id, originator=f"A{number}", name={}, description={}, now=utcnow())
                )

        people = [threading.Thread(target=add, args=(number,)) for number in range(8)]
        for person in people:
            person.start()
        for person in people:
            person.join()

    assert sorted(found) == [f"sms_{number}" for number in range(2, 10)]


def test_where_there_is_no_update_a_call_that_ran_late_there_leaves_nothing_old(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.portal.configure(version="old")
    world.install()
    handler = world.services.handler_url(portals.handler_secret(world.row.id))

    def late() -> None:
        world.client().add_sender("sms", handler, "Old words", "Old")

    hook(monkeypatch, "delete_sender", after=late)
    commanded(world, "change", "sms", "--name", "New words")

    assert names(world) == everybody("New words")


# --- nothing for an installation that is over


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("where", ["sender_codes", "put_sender_anew"])
def test_a_reconcile_under_way_at_an_uninstall_leaves_the_next_installation_its_own_address(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch, clean: bool, where: str
) -> None:
    """The app was removed and installed again between the look and the call."""
    old = installed.services.handler_url(portals.handler_secret(installed.row.id))
    installed.portal.update()

    def reinstalled() -> None:
        installed.portal.uninstall(clean=clean)
        installations.uninstall(installed.row, clean=clean, now=installed.now(), timing=Timing())
        installed.portal.install(finish=True)

    hook(monkeypatch, where, before=reinstalled)
    with pytest.raises(NotNow):
        reconcile(installed.services, installed.row)
    installed.sweep()

    new = installed.services.handler_url(portals.handler_secret(installed.row.id))
    assert new != old
    assert [sender["handler"] for sender in installed.portal.info()["senders"]] == [new]


def test_an_empty_address_is_registered_nowhere(installed: PortalWorld) -> None:
    with writing() as connection:
        connection.execute(sa.update(portals_table).values(handler_secret=""))
    installed.portal.update()
    installed.portal.clear_ledger()

    result = run(installed, "reconcile")

    assert result.exit_code == 1
    assert installed.portal.ledger("rest") == []
    assert installed.portal.senders() == []
