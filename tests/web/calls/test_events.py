"""Events of a portal's life at the edge: what is proved counts, what is not changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.portals import PortalState
from app.store.database import statement
from app.store.portals import events as portal_events
from app.store.portals import portals, tokens
from app.store.tables import credentials, senders
from app.store.tables import portal_events as event_rows
from app.store.tables import portals as portal_rows
from app.web.calls import events
from app.web.rates import Rate
from sandbox.portal.wire import encode_form
from tests.worlds.portals import PortalWorld, portal_world

UNPROVED = "x" * 32


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    """A portal that has installed the application."""
    with portal_world() as made:
        made.install()
        yield made


def post(world: PortalWorld, event: str, auth: dict[str, Any], data: dict[str, Any] | None = None) -> int:
    body = {"event": event, "data": data or {}, "ts": int(world.now().timestamp()), "auth": auth}
    status: int = (
        world.app.test_client()
        .post("/events", data=encode_form(body), content_type="application/x-www-form-urlencoded")
        .status_code
    )
    world.work()
    return status


def everything(world: PortalWorld) -> list[Any]:
    """What an event can change of a portal."""
    with statement() as connection:
        return [
            connection.execute(
                sa.select(
                    portal_rows.c.state,
                    portal_rows.c.application_token_hash,
                    portal_rows.c.previous_token_hash,
                    portal_rows.c.client_endpoint,
                    portal_rows.c.handler_hash,
                    portal_rows.c.session_epoch,
                )
            ).all(),
            connection.execute(sa.select(credentials)).all(),
            connection.execute(sa.select(senders.c.code, senders.c.told_hash)).all(),
        ]


def forged(world: PortalWorld) -> dict[str, tuple[str, dict[str, Any]]]:
    """Calls of somebody who knows the portal's member_id, and perhaps works there."""
    member = {"member_id": world.row.member_id}
    stranger = world.portal.on(world.portal.create_portals()[0]["portal"])
    stranger.install()
    foreign = stranger.mint_tokens(1)
    employee = world.portal.mint_tokens(5)
    return {
        "uninstall with nothing": ("ONAPPUNINSTALL", member),
        "uninstall with a guess": ("ONAPPUNINSTALL", {**member, "application_token": UNPROVED}),
        "uninstall with an empty token": ("ONAPPUNINSTALL", {**member, "application_token": ""}),
        "uninstall by an employee": ("ONAPPUNINSTALL", {**employee, "application_token": UNPROVED}),
        "uninstall by another portal's admin": ("ONAPPUNINSTALL", {**foreign, **member}),
        "uninstall with another portal's token": (
            "ONAPPUNINSTALL",
            {**member, "application_token": foreign["application_token"]},
        ),
        "install with nothing": ("ONAPPINSTALL", member),
        "install with a made-up token": ("ONAPPINSTALL", {**member, "access_token": UNPROVED}),
        "install by another portal's admin": ("ONAPPINSTALL", {**foreign, **member}),
        "install by an employee": ("ONAPPINSTALL", {**employee, "application_token": UNPROVED}),
        "update by another portal's admin": ("ONAPPUPDATE", {**foreign, **member}),
        "update that moves the portal": (
            "ONAPPUPDATE",
            {**employee, "client_endpoint": "http://127.0.0.1:1/rest/", "domain": "thief.example"},
        ),
        "payment with nothing": ("ONAPPPAYMENT", member),
        "confirmation with nothing": ("ONAPPMETHODCONFIRM", member),
    }


def test_forged_events_change_nothing(world: PortalWorld) -> None:
    before = everything(world)
    for name, (event, auth) in forged(world).items():
        status = post(world, event, auth, {"CLEAN": "1"})

        assert [row for row in everything(world)[0] if row[0] != "new"][:1] == before[0], name
        assert everything(world)[1][: len(before[1])] == before[1], name
        assert status in (200, 403), name
        assert status == (403 if "uninstall" in name or name == "install with nothing" else 200), name
        if status == 200 and ("made-up" in name or "another portal's" in name):  # its job found out
            assert portal_events.latest(auth["member_id"], limit=1)[0][2].startswith("refused: "), name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"event=",
        b"event=ONAPPUNINSTALL",
        b"auth=x&auth[member_id]=y&event=1",
        b"auth[member_id]=aaaaaaaaaaaaaaaa",
        b"auth[member_id]=aaaaaaaaaaaaaaaa&event=ON/../APP",
    ],
)
def test_junk_is_refused(world: PortalWorld, body: bytes) -> None:
    answer = world.app.test_client().post("/events", data=body)

    assert answer.status_code == 400


def test_unknown_portal_cannot_uninstall(world: PortalWorld) -> None:
    assert post(world, "ONAPPUNINSTALL", {"member_id": "f" * 32, "application_token": UNPROVED}) == 403


def test_probe_of_the_address_is_answered(world: PortalWorld) -> None:
    client = world.app.test_client()

    assert [client.get("/events").status_code, client.head("/events").status_code] == [200, 200]


def test_event_of_an_employee_still_makes_us_look(world: PortalWorld) -> None:
    """The installer was demoted; the app is updated all the same, and the senders are gone."""
    world.portal.open(user=2)
    world.portal.set_user(1, role="employee")

    world.portal.update(new_token=True)
    world.work()

    assert [sender["code"] for sender in world.portal.senders()] == ["sms"]


def test_new_application_token_counts_and_the_previous_one_for_a_day(world: PortalWorld) -> None:
    old = world.portal.mint_tokens()["application_token"]
    world.portal.update(new_token=True)
    world.work()
    new = world.portal.mint_tokens()["application_token"]
    member_id = world.row.member_id

    def known(token: str) -> bool:
        return portals.knows_application_token(member_id, token, now=world.now())

    assert old != new
    assert [known(old), known(new)] == [True, True]
    world.pass_time(hours=24, seconds=1)
    assert [known(old), known(new)] == [False, True]


@pytest.mark.parametrize("clean", [True, False])
def test_uninstall_erases_tokens_and_ends_what_waits(world: PortalWorld, clean: bool) -> None:
    waiting = world.portal.send_sms()["message_id"]  # no gateway is connected
    world.work()

    world.portal.uninstall(clean=clean)
    world.work()

    assert world.row.state is PortalState.UNINSTALLED
    assert tokens.service(world.row.id) is None
    printed = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, waiting])
    assert (printed.exit_code == 0) is not clean
    if not clean:
        assert "status: failed" in printed.output
        assert "reason: uninstalled" in printed.output


def test_what_an_uninstalled_portal_left_is_erased_after_a_month(world: PortalWorld) -> None:
    message = world.portal.send_sms()["message_id"]
    world.work()
    world.portal.uninstall(clean=False)
    world.work()

    world.pass_time(days=31)
    world.sweep()

    printed = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, message])
    assert printed.exit_code == 1


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "known"])
def test_message_after_the_uninstall_is_taken_and_never_sent(world: PortalWorld, is_known: bool) -> None:
    if is_known:  # for some seconds the HANDLER goes by what it has just read of the portal
        world.portal.send_sms(to="+4915199999999")
        world.work()
    world.portal.set_queue(paused=True)
    late = world.portal.send_sms()["message_id"]
    world.portal.set_queue(paused=True)
    auth = {**world.portal.mint_tokens()}
    assert post_uninstall(world, auth) == 200
    world.work()

    world.portal.set_queue(paused=False)
    world.work()

    assert [post["status"] for post in world.portal.message(late)["posts"]] == [200]
    printed = world.app.test_cli_runner().invoke(args=["messages", "list", world.row.member_id])
    assert "failed" in printed.output
    assert "4915112345678" not in printed.output


def post_uninstall(world: PortalWorld, auth: dict[str, Any]) -> int:
    """The event, as the portal's queue would post it, while that is paused."""
    row = world._bitrix24.portals[1].installation
    assert row is not None
    row.active = False
    keys = ("domain", "server_endpoint", "client_endpoint", "member_id", "application_token")
    body = {
        "event": "ONAPPUNINSTALL",
        "data": {"CLEAN": "0"},
        "ts": int(world.now().timestamp()),
        "auth": {key: auth[key] for key in keys},
    }
    answer = world.app.test_client().post(
        "/events", data=encode_form(body), content_type="application/x-www-form-urlencoded"
    )
    for name, key, _ in list(world.engine.hints):
        world.engine.perform(name, key)
    world.engine.hints.clear()
    row.active = True
    return int(answer.status_code)


def test_reinstall_within_seconds_survives_the_late_uninstall(world: PortalWorld) -> None:
    world.portal.set_queue(delay_s=[0.4, 0.4])
    world.portal.reinstall(clean=True, finish=True)
    world.portal.set_queue(delay_s=[0, 0])
    world.work()
    for _ in range(2):  # the first "installed" is not believed
        world.pass_time(seconds=10)
        world.sweep()

    results = [result for _, event, result in portal_events.latest(world.row.member_id, limit=9)]
    assert any(result.startswith("ignored: ") for result in results)
    assert world.row.state is PortalState.ACTIVE
    message = world.message_that_fails()
    world.work()
    assert world.told(message) == ["failed"]


def test_reinstall_after_the_uninstall_starts_anew_with_the_old_settings(world: PortalWorld) -> None:
    old_handler = world.portal.info()["senders"][0]["handler"]
    world.portal.uninstall(clean=False)
    world.work()

    world.install()

    assert world.row.state is PortalState.ACTIVE
    assert world.portal.info()["senders"][0]["handler"] != old_handler


def test_replayed_events_of_an_earlier_installation_change_nothing(world: PortalWorld) -> None:
    auth = world.portal.mint_tokens()
    body = {
        "event": "ONAPPUNINSTALL",
        "data": {"CLEAN": "1"},
        "ts": int(world.now().timestamp()) - 3600,
        "auth": {"member_id": auth["member_id"], "application_token": auth["application_token"]},
    }
    before = everything(world)

    for _ in range(2):
        answer = world.app.test_client().post(
            "/events", data=encode_form(body), content_type="application/x-www-form-urlencoded"
        )
        assert answer.status_code == 200
        world.work()

    assert everything(world) == before


def test_event_that_comes_while_the_authorization_server_is_down_is_acted_upon_later(
    world: PortalWorld,
) -> None:
    world.portal.add_fault(side="auth", method="app.info", kind="drop", count=0)
    world.portal.update(new_token=True)
    world.work()
    assert world.portal.senders() == []

    world.portal.clear_faults()
    world.pass_time(minutes=1)
    world.sweep()

    assert [sender["code"] for sender in world.portal.senders()] == ["sms"]


def test_confirmation_event_is_accepted_and_noted(world: PortalWorld) -> None:
    status = post(
        world,
        "ONAPPMETHODCONFIRM",
        {
            "member_id": world.row.member_id,
            "application_token": world.portal.mint_tokens()["application_token"],
        },
        {"TOKEN": "t", "METHOD": "im.notify", "CONFIRMED": "1"},
    )

    assert status == 200
    [(_, event, result), *_] = portal_events.latest(world.row.member_id, limit=1)
    assert (event, result) == ("ONAPPMETHODCONFIRM", "noted")


def test_unproved_payment_events_make_us_look_once_a_minute(world: PortalWorld) -> None:
    world.portal.clear_ledger()

    for _ in range(5):
        assert post(world, "ONAPPPAYMENT", {"member_id": world.row.member_id}) == 200

    assert world.calls("messageservice.sender.list") == 1


def test_payment_that_returns_heals_at_once(world: PortalWorld) -> None:
    world.portal.payment(expired=True)
    waiting = world.message_that_fails  # the portal hands over nothing now
    assert world.portal.message(waiting())["status"] == "error"
    world.pass_time(hours=30)
    world.sweep()
    assert world.row.state is PortalState.PAYMENT

    world.portal.payment(expired=False)
    world.work()

    assert world.row.state is PortalState.ACTIVE


def test_portal_with_an_authorization_server_of_its_own_is_told_apart(
    world: PortalWorld, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"member_id": "a" * 32, "access_token": UNPROVED, "server_endpoint": "https://own.example/rest/"}

    assert post(world, "ONAPPINSTALL", own) == 200
    [refusal] = [r for r in caplog.records if r.getMessage() == "forged event"]
    assert refusal.why == "the portal has an authorization server of its own: own.example"  # type: ignore[attr-defined]


def test_nobody_is_asked_before_an_event_is_answered(world: PortalWorld) -> None:
    """The authorization server may hang, and whoever forges events must not hold our threads with it."""
    auth = world.portal.mint_tokens(1)
    world.portal.clear_ledger()

    for event in ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPPAYMENT", "ONAPPUNINSTALL"):
        body = {"event": event, "data": {}, "ts": 1, "auth": {**auth, "application_token": UNPROVED}}
        form = "application/x-www-form-urlencoded"
        world.app.test_client().post("/events", data=encode_form(body), content_type=form)

    assert world.portal.ledger(portal="*") == []


@pytest.mark.parametrize(
    "event", ["ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT", "ONAPPMETHODCONFIRM"]
)
@pytest.mark.parametrize("proof", [{}, {"application_token": UNPROVED}, {"access_token": UNPROVED}])
def test_the_answer_does_not_tell_whether_we_know_the_portal(
    world: PortalWorld, event: str, proof: dict[str, str]
) -> None:
    answers = {post(world, event, {"member_id": who, **proof}) for who in (world.row.member_id, "f" * 32)}

    assert len(answers) == 1


def _stored() -> int:
    with statement() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(event_rows)) or 0


def test_what_anybody_can_post_adds_a_bounded_number_of_rows(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_unproved", Rate(span_s=3600))
    monkeypatch.setattr(events, "STRANGERS_AN_HOUR", 5)
    monkeypatch.setattr(events, "AN_HOUR", 7)
    before = _stored()

    for number in range(20):
        stranger = {"member_id": f"{number:032}", "access_token": UNPROVED}
        assert post(world, "ONAPPINSTALL", stranger) == 200
    of_strangers = _stored() - before
    for _ in range(20):
        known = {"member_id": world.row.member_id, "access_token": UNPROVED}
        assert post(world, "ONAPPINSTALL", known) == 200

    assert of_strangers == 5
    assert _stored() - before == 5 + 7


def test_message_with_the_new_application_token_is_not_lost_after_an_unproved_update(
    world: PortalWorld,
) -> None:
    """The installer was demoted, so the update's event proved nothing, and the message brings no token."""
    world.portal.open(user=2)
    world.portal.set_user(1, role="employee")
    world.portal.update(new_token=True)
    world.work()

    message = world.message_that_fails(origin="robot", auth="system")
    world.work()

    assert world.told(message)[-1] == "failed"
    reason = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, message])
    assert "reason: bad_number" in reason.output


def _post_message(world: PortalWorld, **auth: str) -> None:
    """A call that does not fit its portal."""
    handler = world.portal.info()["senders"][0]["handler"].removeprefix(world.services.config.public_url)
    body = {
        "message_id": "e" * 32,
        "message_to": "+4915112345678",
        "message_body": "forged",
        "code": "sms",
        "auth": {"member_id": world.row.member_id, "application_token": UNPROVED, **auth},
    }
    assert world.app.test_client().post(handler, data=encode_form(body)).status_code == 200
    world.work()


def test_a_held_message_whose_portal_cannot_be_asked_comes_to_an_end(
    world: PortalWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.portal.add_fault(method="*", kind="drop", count=0)
    _post_message(world)
    for hours in (1, 22):
        world.pass_time(hours=hours)
        world.sweep()
    shown = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, "e" * 32])
    assert "work: held" in shown.output

    world.pass_time(hours=2)
    world.sweep()

    shown = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, "e" * 32])
    assert "reason: not_verified" in shown.output
    assert "forged message refused" in [record.getMessage() for record in caplog.records]


def test_an_employees_call_proves_no_new_application_token(world: PortalWorld) -> None:
    """They bring their own access token, which lives, and a token of their own making."""
    theirs = world.portal.mint_tokens(5)["access_token"]

    _post_message(world, access_token=theirs)

    assert not portals.knows_application_token(world.row.member_id, UNPROVED, now=world.now())


def test_message_that_the_portal_does_not_know_is_never_sent(world: PortalWorld) -> None:
    _post_message(world)

    world.pass_time(minutes=11)
    world.sweep()

    shown = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, "e" * 32])
    assert "reason: not_verified" in shown.output
