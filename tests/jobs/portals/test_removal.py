"""Who may end an installation: nobody's word, only tokens that are dead; and never the next installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.portals import PortalState
from app.jobs.portals import events as portal_events
from app.store.accounts import accounts
from app.store.database import statement, writing
from app.store.portals import events, portals, tokens
from app.store.tables import credentials, messages
from app.store.tables import portal_events as event_rows
from app.store.tables import portals as portal_rows
from app.store.upkeep import erasure, installations
from tests.worlds.portals import PortalWorld, portal_world

REMOVAL = "ONAPPUNINSTALL"
EMPLOYEE = 5


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    """A portal that has installed the application, and works."""
    with portal_world() as made:
        made.install()
        yield made


def says_it_is_removed(world: PortalWorld, *, clean: bool = True, times: int = 1) -> None:
    """An employee does, with what their own frame told them."""
    statuses = world.portal.forge_event(REMOVAL, {"CLEAN": "1" if clean else "0"}, times=times)
    assert set(statuses) <= {200, 403, 429}
    world.work()


def look_again(world: PortalWorld, times: int = 3) -> None:
    """The job comes back to what it could not decide."""
    for _ in range(times):
        world.pass_time(minutes=2)
        world.sweep()


def results(world: PortalWorld) -> list[str]:
    """What became of the removals that were told, newest first."""
    found = events.latest(world.row.member_id, limit=100)
    return [result for _, event, result in found if event == REMOVAL]


def works(world: PortalWorld) -> bool:
    """The portal hands over a message, and is told what became of it."""
    message = world.message_that_fails()
    world.work()
    return world.row.state is PortalState.ACTIVE and world.told(message)[-1:] == ["failed"]


def lose_tokens(world: PortalWorld) -> None:
    """No administrator's token works any more, and we know it: the app is there all the same."""
    world.portal.expire_tokens(refresh=True)
    world.message_that_fails()
    world.work()
    assert world.row.state is PortalState.RECONNECT


def asks(world: PortalWorld) -> int:
    """How often the authorization server was asked whose a token is."""
    return len(world.portal.ledger("auth_info", portal="*"))


def before_the_deed(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, what: Callable[[], Any]) -> None:
    """`what` happens once between the look and the deed `name`."""
    deed = getattr(where, name)

    def late(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(where, name, deed)
        what()
        return deed(*args, **more)

    monkeypatch.setattr(where, name, late)


# --- an employee's word


@pytest.mark.parametrize("clean", [True, False])
def test_an_employee_cannot_remove_the_app(world: PortalWorld, clean: bool) -> None:
    says_it_is_removed(world, clean=clean, times=5)
    look_again(world)

    assert set(results(world)) == {"ignored: the app is still installed"}
    assert tokens.has_working(world.row.id)
    assert works(world)


def test_however_often_they_say_it_the_server_is_asked_twice_in_the_first_minute(world: PortalWorld) -> None:
    world.portal.clear_ledger()

    for _ in range(5):
        says_it_is_removed(world)
        world.pass_time(seconds=2)
        world.sweep()

    assert 1 <= asks(world) <= 2
    look_again(world)
    assert set(results(world)) == {"ignored: the app is still installed"}


def test_a_spare_that_lives_is_asked_too(world: PortalWorld) -> None:
    """The administrator who speaks for the portal has left; another one's token proves it."""
    world.portal.open(user=2)
    with writing() as connection:
        connection.execute(
            sa.update(credentials)
            .where(credentials.c.user_id == "1")
            .values(access_token="", refresh_token="")
        )

    says_it_is_removed(world)
    look_again(world)

    assert set(results(world)) == {"ignored: the app is still installed"}
    assert works(world)


def test_the_rights_of_a_token_do_not_matter(world: PortalWorld) -> None:
    """The only administrator whose tokens we have is demoted: that is no removal."""
    world.portal.set_user(1, role="employee")
    says_it_is_removed(world)
    look_again(world)

    assert set(results(world)) == {"ignored: the app is still installed"}
    assert world.row.state is not PortalState.UNINSTALLED


def test_dead_tokens_prove_nothing_when_they_were_dead_before(world: PortalWorld) -> None:
    lose_tokens(world)
    says_it_is_removed(world)
    world.pass_time(hours=20)
    world.sweep()
    assert world.row.state is PortalState.RECONNECT

    world.message_that_fails(origin="robot", auth="none")  # the portal still hands messages over
    world.work()
    world.pass_time(hours=6)
    world.sweep()

    assert results(world) == ["ignored: the portal is in use"]
    assert world.row.state is PortalState.RECONNECT


def test_an_employee_who_opens_the_app_is_a_sign_of_life(world: PortalWorld) -> None:
    lose_tokens(world)
    says_it_is_removed(world)
    world.pass_time(hours=3)

    world.portal.open(user=EMPLOYEE)
    world.pass_time(hours=23)
    world.sweep()

    assert results(world) == ["ignored: the portal is in use"]


def test_a_day_of_silence_beside_dead_tokens_is_believed(world: PortalWorld) -> None:
    lose_tokens(world)
    says_it_is_removed(world)

    world.pass_time(hours=25)
    world.sweep()

    assert results(world) == ["uninstalled"]
    assert world.row.state is PortalState.UNINSTALLED


# --- a removal that is true


def test_a_removal_is_carried_out_at_once(world: PortalWorld) -> None:
    world.portal.uninstall(clean=False)
    world.work()

    assert results(world) == ["uninstalled"]
    assert world.row.state is PortalState.UNINSTALLED
    assert tokens.service(world.row.id) is None


def test_it_is_asked_again_while_nobody_answers(world: PortalWorld) -> None:
    world.portal.add_fault(side="auth", method="*", kind="drop", count=0)
    world.portal.uninstall(clean=False)
    world.work()
    world.pass_time(hours=30)
    world.sweep()
    assert world.row.state is not PortalState.UNINSTALLED

    world.portal.clear_faults()
    look_again(world, times=40)

    assert results(world) == ["uninstalled"]


def test_a_removal_is_seen_when_only_refresh_tokens_are_left(world: PortalWorld) -> None:
    world.pass_time(hours=2)  # the access token has run out
    world.portal.uninstall(clean=False)
    world.work()

    assert results(world) == ["uninstalled"]


def test_nobody_is_removed_because_our_own_secret_is_wrong(world: PortalWorld) -> None:
    """The authorization server refuses us everywhere, and an employee says that the app is gone."""
    other = world.portal.on(world.portal.create_portals()[0]["portal"])
    other.install(finish=True)
    world.work()
    world.pass_time(hours=3)
    world.portal.add_fault(side="auth", method="token", error="invalid_client", count=0)

    says_it_is_removed(world)
    look_again(world)

    assert world.row.state is not PortalState.UNINSTALLED
    assert "uninstalled" not in results(world)


@pytest.mark.parametrize("when", ["before the removal", "after it"])
def test_a_portal_that_comes_back_hears_what_was_never_sent(world: PortalWorld, when: str) -> None:
    """It shows as sent what it handed over around the removal."""
    world.portal.set_queue(paused=when == "after it")
    message = world.portal.send_sms()["message_id"]  # no gateway is connected
    world.portal.uninstall(clean=False)
    installations.uninstall(world.row, clean=False, now=world.now(), timing=world.services.timing)
    world.portal.set_queue(paused=False)
    world.work()
    assert world.told(message) == []

    world.portal.install(finish=True)
    look_again(world)

    assert world.told(message)[-1:] == ["failed"]


# --- removed and installed again, in any order


@pytest.mark.parametrize("clean", [True, False])
def test_an_installation_that_begins_closes_the_removal_before_it(world: PortalWorld, clean: bool) -> None:
    world.portal.set_queue(paused=True)
    world.portal.uninstall(clean=clean)
    world.portal.set_queue(paused=False)
    world.portal.wait_rest()  # stored, and nobody acted on it yet
    waiting, world.engine.hints = world.engine.hints, []

    world.portal.install(finish=True)
    assert results(world) == ["ignored: of an earlier installation"]

    world.engine.hints = waiting + world.engine.hints
    world.work()
    assert works(world)


@pytest.mark.parametrize("clean", [True, False])
def test_who_installs_between_the_look_and_the_deed_stays_installed(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch, clean: bool
) -> None:
    before_the_deed(monkeypatch, installations, "uninstall", lambda: world.portal.install(finish=True))

    world.portal.uninstall(clean=clean)
    world.work()
    look_again(world)

    assert set(results(world)) == {"ignored: of an earlier installation"}
    assert works(world)


def test_who_opens_the_app_between_the_look_and_the_deed_keeps_it(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No installer page: an administrator's tokens alone speak against the look."""
    lose_tokens(world)
    before_the_deed(monkeypatch, installations, "uninstall", lambda: world.portal.open(user=2))
    says_it_is_removed(world)

    world.pass_time(hours=25)
    world.sweep()
    look_again(world)

    assert "uninstalled" not in results(world)
    assert works(world)


def test_tokens_that_came_between_the_look_and_the_deed_speak_against_the_look(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours died for another reason, an employee says that the app is gone, and an administrator comes by."""
    world.portal.expire_tokens(refresh=True)
    before_the_deed(monkeypatch, installations, "uninstall", lambda: world.portal.open(user=2))

    says_it_is_removed(world)
    look_again(world)

    assert "uninstalled" not in results(world)
    assert works(world)


def test_a_message_between_the_look_and_the_deed_is_a_sign_of_life(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_tokens(world)

    def hand_over() -> None:
        world.message_that_fails(origin="robot", auth="none")
        world.portal.wait_rest()

    before_the_deed(monkeypatch, installations, "uninstall", hand_over)
    says_it_is_removed(world)

    world.pass_time(hours=25)
    world.sweep()
    look_again(world)

    assert results(world) == ["ignored: the portal is in use"]


def test_a_removal_that_comes_after_the_next_installation_is_void(world: PortalWorld) -> None:
    world.portal.set_queue(delay_s=[0.3, 0.3])
    world.portal.reinstall(clean=True, finish=True)
    world.portal.set_queue(delay_s=[0, 0])
    world.work()
    look_again(world)

    assert all(result.startswith("ignored") for result in results(world))
    assert works(world)


# --- what a removal with CLEAN takes along


def connect(world: PortalWorld) -> None:
    done = world.app.test_cli_runner().invoke(args=["gateways", "set", world.row.member_id, "demo"])
    assert done.exit_code == 0, done.output


def test_an_erasure_leaves_the_installation_that_follows_it_alone(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of rows take a while to delete. Somebody installs meanwhile, connects a gateway and sends."""
    for _ in range(3):
        world.message_that_fails()
    world.work()
    sent = []

    def install_and_send() -> None:
        world.portal.install(finish=True)
        world.work()
        connect(world)
        sent.append(world.message_that_fails())
        world.work()

    before_the_deed(monkeypatch, erasure, "remove", install_and_send)
    world.portal.uninstall(clean=True)
    world.work()
    look_again(world)

    assert len(rows(world)) == 1, "what was there before is gone, and what came later is not"
    assert world.told(sent[0])[-1] == "failed"
    assert accounts.default_of(world.row.id) is not None
    assert tokens.has_working(world.row.id)
    assert works(world)


def test_an_erasure_that_was_cut_short_is_finished(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.message_that_fails()
    world.work()

    def die() -> None:
        raise MemoryError

    before_the_deed(monkeypatch, erasure, "remove", die)
    world.portal.uninstall(clean=True)
    world.portal.wait_rest()
    with pytest.raises(MemoryError):
        [(_, key, _)] = [hint for hint in world.engine.hints if hint[0] == "portal_event"]
        portal_events.act_on_event(world.services, key)
    assert len(rows(world)) == 1

    world.engine.hints.clear()
    world.pass_time(minutes=6)
    world.sweep()

    assert rows(world) == []
    assert results(world) == ["uninstalled"]


def test_no_gateway_is_connected_to_a_portal_that_was_removed(world: PortalWorld) -> None:
    """Nobody would ever erase its secrets."""
    world.portal.uninstall(clean=True)
    world.work()

    done = world.app.test_cli_runner().invoke(args=["gateways", "set", world.row.member_id, "demo"])

    assert done.exit_code != 0
    assert accounts.of_portal(world.row.id) == []


def test_a_month_later_who_came_back_is_not_erased(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.message_that_fails()
    world.portal.uninstall(clean=False)
    world.work()

    def come_back() -> None:
        world.portal.install(finish=True)
        world.work()

    before_the_deed(monkeypatch, installations, "erase_what_was_kept", come_back)
    world.pass_time(days=31)
    world.sweep()

    assert len(rows(world)) == 1
    assert works(world)


def test_erase_portal_asks_about_one_installation_and_erases_no_other(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.portal.uninstall(clean=False)
    world.work()

    def come_back() -> None:
        world.portal.install(finish=True)
        world.work()

    before_the_deed(monkeypatch, installations, "erase_what_was_kept", come_back)
    done = world.app.test_cli_runner().invoke(args=["erase", "portal", world.row.member_id, "--yes"])

    assert done.exit_code != 0
    assert "installed again meanwhile" in done.output
    assert works(world)


def test_erase_portal_with_force_leaves_the_next_installation_alone(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_deed(monkeypatch, installations, "uninstall", lambda: world.portal.reinstall(finish=True))

    done = world.app.test_cli_runner().invoke(
        args=["erase", "portal", world.row.member_id, "--yes", "--force"]
    )
    look_again(world)

    assert done.exit_code != 0
    assert works(world)


def test_an_emptied_address_is_made_anew_when_the_app_is_opened(world: PortalWorld) -> None:
    world.portal.set_queue(drop=1.0)
    world.portal.update()  # the senders are gone, and nobody heard of it
    world.portal.set_queue(drop=0)
    with writing() as connection:
        connection.execute(sa.update(portal_rows).values(handler_secret=""))

    world.portal.open(user=1)
    world.work()

    handlers = [sender["handler"] for sender in world.portal.info()["senders"]]
    assert len(handlers) == 1
    assert not handlers[0].endswith("/sms/")
    assert works(world)


def test_a_verification_that_is_older_than_the_removal_revives_nothing(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator opens the app; Bitrix24 answers; the app is removed; then we store who it was."""

    def removed_meanwhile() -> None:
        world.portal.uninstall(clean=False)
        world.work()
        assert world.row.state is PortalState.UNINSTALLED

    before_the_deed(monkeypatch, portals, "save_opener", removed_meanwhile)
    opened = world.portal.open(user=2)

    assert opened["status"] == 503
    assert world.row.state is PortalState.UNINSTALLED
    assert tokens.service(world.row.id) is None
    assert world.portal.senders() == []


def rows(world: PortalWorld) -> list[int]:
    with statement() as connection:
        return list(connection.scalars(sa.select(messages.c.id).where(messages.c.portal_id == world.row.id)))


# --- events, whoever works on them


def test_one_worker_at_a_time_acts_on_an_event(world: PortalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow portal: meanwhile the sweeper looks again and again for what is due."""
    begun = []

    def slowly(*_args: Any) -> str:
        begun.append(1)
        for _ in range(3):
            world.pass_time(seconds=5)
            for event_id in events.due(world.now(), limit=10):
                portal_events.act_on_event(world.services, event_id)
        return "done"

    monkeypatch.setattr(portal_events, "_act", slowly)
    world.portal.update()
    world.work()

    assert begun == [1]


def test_who_was_too_slow_closes_nothing_that_another_worker_took_over(world: PortalWorld) -> None:
    event_id = events.store(world.row.member_id, REMOVAL, {"is_clean": ""}, is_verified=True, now=world.now())
    slow = events.claim(event_id, now=world.now(), lease_s=10)
    world.pass_time(seconds=11)
    assert events.claim(event_id, now=world.now(), lease_s=10)
    assert slow is not None

    events.close(slow, "done by the slow one")
    events.postpone(slow, world.now())

    assert results(world) == [""]
    assert events.due(world.now(), limit=10) == []


def test_an_event_without_a_content_is_closed(world: PortalWorld) -> None:
    """Its content was erased: nobody can act on it, and nobody tries for ever."""
    events.store(world.row.member_id, REMOVAL, {"is_clean": ""}, is_verified=True, now=world.now())
    with writing() as connection:
        connection.execute(sa.update(event_rows).values(payload=""))

    world.sweep()

    assert results(world) == ["given up: its content is gone"]
    assert events.due(world.now() + timedelta(days=1), limit=10) == []


def test_an_erased_portal_has_no_event_left_to_act_on(world: PortalWorld) -> None:
    """An update that came in while nobody answered goes with everything else."""
    world.portal.add_fault(side="auth", method="*", kind="drop", count=0)
    world.portal.update()
    world.work()
    world.portal.clear_faults()
    installations.uninstall(world.row, clean=True, now=world.now(), timing=world.services.timing)

    world.pass_time(minutes=30)
    world.sweep()

    assert events.due(world.now() + timedelta(days=1), limit=10) == []
    assert world.row.state is PortalState.UNINSTALLED
