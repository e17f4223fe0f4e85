"""Tokens: refreshed once, stored before use, replaced when their user loses his rights, never sent astray."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from app.bitrix import client, rest
from app.bitrix.errors import BucketFull, PortalBusy, PortalError, TokenRefused
from app.bitrix.oauth import OAuth
from app.domain.portals import PortalState
from app.store.portals import portals, rest_budget, states, tokens
from app.store.portals.tokens import PortalTokens
from app.transport import TransportError
from sandbox.serving import Server
from tests.worlds.portals import PortalWorld


def refreshes(world: PortalWorld) -> int:
    return world.portal.refreshes().get("1", 0)


def test_token_is_refreshed_before_its_hour_is_over(installed: PortalWorld) -> None:
    installed.pass_time(minutes=59, seconds=30)

    installed.client().app_info()

    assert refreshes(installed) == 1
    assert installed.calls("app.info", "expired_token") == 0


def test_token_that_the_portal_calls_expired_is_refreshed_once_and_the_call_repeated(
    installed: PortalWorld,
) -> None:
    installed.portal.expire_tokens()

    installed.client().app_info()

    assert refreshes(installed) == 1
    assert installed.calls("app.info", "ok") == 1


def test_fault_46_many_threads_make_one_refresh(installed: PortalWorld) -> None:
    # So slow an answer that nobody comes too late to ask for one of his own.
    installed.portal.add_fault(side="auth", method="token", kind="slow", seconds=0.5, count=0)
    installed.portal.expire_tokens()

    def call(_: int) -> None:
        with installed.app.app_context():
            installed.client().app_info()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(8)))

    assert len(installed.portal.ledger("token", portal="*")) == 1
    assert refreshes(installed) == 1


def test_lost_answer_is_asked_for_again_with_the_old_token(installed: PortalWorld) -> None:
    installed.portal.set_auth(rotation="grace", lost_every=1)
    installed.portal.expire_tokens()
    with pytest.raises(TransportError):
        installed.client().app_info()
    assert installed.users_with_tokens() == {"1": ""}

    installed.portal.set_auth(rotation="grace", lost_every=0)
    installed.pass_time(seconds=10)
    installed.client().app_info()

    assert installed.users_with_tokens() == {"1": ""}


def test_lost_answer_where_the_old_token_dies_at_once_needs_an_admin_or_event(installed: PortalWorld) -> None:
    installed.portal.set_auth(lost_every=1)
    installed.portal.expire_tokens()
    message = installed.message_that_fails(auth="none")
    installed.work()
    assert installed.row.state is PortalState.RECONNECT
    assert installed.told(message) == []

    installed.portal.set_auth(lost_every=0)
    installed.portal.fire_event("ONAPPINSTALL", {"VERSION": "1"}, with_tokens=True)
    installed.work()
    installed.sweep()

    assert installed.row.state is PortalState.ACTIVE
    assert installed.told(message) == ["failed"]


def test_others_wait_after_a_refresh_without_answer(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.bitrix.credentials.REFRESH_WAIT_S", 0.3)
    installed.portal.add_fault(side="auth", method="token", kind="html", count=0)
    installed.portal.expire_tokens()

    for _ in range(3):
        with pytest.raises(PortalBusy):
            installed.client().app_info()
    asked = len(installed.portal.ledger("token", portal="*"))

    assert asked == 1
    assert installed.users_with_tokens() == {"1": ""}


def test_late_writer_does_not_overwrite_newer_tokens(installed: PortalWorld) -> None:
    stale = tokens.service(installed.row.id)
    assert stale is not None
    installed.portal.expire_tokens()
    installed.client().app_info()
    newer = tokens.service(installed.row.id)
    assert newer is not None

    stored = tokens.store_refreshed(stale, installed.row.member_id, stale.tokens, now=installed.now())
    still_good = tokens.mark_broken(stale, "INVALID_GRANT", now=installed.now())

    assert not stored
    assert still_good
    assert tokens.service(installed.row.id) == newer


def test_tokens_of_an_event_that_is_worked_on_late_do_not_replace_newer_ones(installed: PortalWorld) -> None:
    installed.pass_time(minutes=50)
    installed.portal.fire_event("ONAPPINSTALL", {"VERSION": "1"}, with_tokens=True)
    installed.portal.wait_rest()
    installed.pass_time(minutes=9, seconds=30)
    installed.client().app_info()
    refreshed = tokens.service(installed.row.id)
    assert refreshes(installed) == 1

    installed.work()

    assert tokens.service(installed.row.id) == refreshed


def test_tokens_that_cannot_be_refreshed_are_not_tried(installed: PortalWorld) -> None:
    row = installed.row
    credential = tokens.service(row.id)
    assert credential is not None
    empty = type(credential.tokens)(credential.tokens.access_token, "", credential.tokens.expires_at)
    tokens.store_refreshed(credential, row.member_id, empty, now=installed.now())
    installed.portal.expire_tokens()

    with pytest.raises(TokenRefused):
        installed.client().app_info()
    assert refreshes(installed) == 0


@pytest.mark.parametrize("role", ["employee", "dismissed"])
def test_spare_admin_takes_over(installed: PortalWorld, role: str) -> None:
    installed.portal.open(user=2)
    installed.portal.set_user(1, role=role)

    message = installed.message_that_fails(auth="none")
    installed.work()

    assert installed.told(message) == ["failed"]
    assert installed.row.state is PortalState.ACTIVE
    assert installed.users_with_tokens() == {"2": ""}


def test_spare_whose_own_token_has_run_out_takes_over_at_once(installed: PortalWorld) -> None:
    installed.portal.open(user=2)
    installed.portal.add_fault(side="auth", method="token", error="invalid_grant")
    installed.pass_time(hours=2)

    installed.client().app_info()

    assert installed.users_with_tokens() == {"2": ""}


def test_author_tells_of_his_own_message_where_no_admin_is_left(installed: PortalWorld) -> None:
    installed.portal.set_user(1, role="employee")

    own = installed.message_that_fails(author=5)
    nobodys = installed.message_that_fails(auth="none")
    installed.work()
    later = installed.message_that_fails(author=6)
    installed.work()

    assert installed.row.state is PortalState.RECONNECT
    assert [installed.told(message) for message in (own, nobodys, later)] == [["failed"], [], ["failed"]]


def test_second_admin_heals_by_opening_the_app(installed: PortalWorld) -> None:
    installed.portal.set_user(1, role="employee")
    message = installed.message_that_fails(auth="none")
    installed.work()
    assert installed.row.state is PortalState.RECONNECT

    installed.portal.open(user=2)
    installed.sweep()

    assert installed.row.state is PortalState.ACTIVE
    assert installed.told(message) == ["failed"]
    assert installed.users_with_tokens() == {"2": ""}


def test_employee_who_opens_the_app_changes_nothing(installed: PortalWorld) -> None:
    before = tokens.service(installed.row.id)

    installed.portal.open(user=5)

    assert tokens.service(installed.row.id) == before


def test_rights_that_came_back_are_noticed_without_anybody(installed: PortalWorld) -> None:
    installed.portal.set_user(1, role="employee")
    message = installed.message_that_fails(auth="none")
    installed.work()

    installed.portal.set_user(1, role="admin")
    installed.pass_time(hours=1.1)
    installed.sweep()
    installed.sweep()

    assert installed.told(message) == ["failed"]


@pytest.mark.parametrize("redirect", [301, 302, 303, 307, 308])
def test_renamed_portal_is_followed_to_where_the_authorization_server_says(
    installed: PortalWorld, redirect: int
) -> None:
    installed.portal.rename(path=f"/new{redirect}", redirect=redirect)

    installed.client().app_info()

    assert installed.row.client_endpoint.endswith(f"/new{redirect}/rest/")
    assert installed.calls("app.info", "ok") == 1


def test_renamed_portal_is_followed_with_a_token_that_ran_out(installed: PortalWorld) -> None:
    installed.portal.rename(path="/new", redirect=302)
    installed.portal.expire_tokens()

    installed.client().app_info()

    assert installed.row.client_endpoint.endswith("/new/rest/")


def test_no_token_goes_where_a_redirect_leads(installed: PortalWorld) -> None:
    heard: list[str] = []

    def thief(environ: dict[str, object], start: object) -> list[bytes]:
        heard.append(str(environ["REQUEST_URI"]))
        start("200 OK", [])  # type: ignore[operator]
        return [b'{"result": true}']

    def old_address(_: dict[str, object], start: object) -> list[bytes]:
        start("302 Found", [("Location", f"http://127.0.0.1:{elsewhere.port}/rest/app.info")])  # type: ignore[operator]
        return [b""]

    elsewhere, old = Server(thief).start(), Server(old_address).start()
    true_address = installed.row.client_endpoint
    portals.update_address(installed.row.id, client_endpoint=f"http://127.0.0.1:{old.port}/rest/")

    installed.client().app_info()

    assert heard == []
    assert installed.row.client_endpoint == true_address
    for server in (elsewhere, old):
        server.stop(grace_s=0.1)


def test_quiet_portal_and_its_spare_admins_are_kept_alive(installed: PortalWorld) -> None:
    installed.portal.open(user=2)
    states.postpone_reconcile(installed.row, None)  # nothing else looks at the portal
    installed.pass_time(days=61)

    installed.sweep()

    assert refreshes(installed) == 2
    assert installed.users_with_tokens() == {"1": ""}


def test_blocked_method_rests_and_the_others_do_not(installed: PortalWorld) -> None:
    method = "messageservice.message.status.update"
    installed.portal.add_fault(method=method, error="OPERATION_TIME_LIMIT", for_s=600)
    message = installed.message_that_fails(auth="none")
    installed.work()
    installed.portal.clear_ledger()

    installed.pass_time(seconds=30)
    installed.sweep()
    with pytest.raises(PortalBusy):  # whoever asks
        installed.client().assert_message("sms", message)
    assert installed.calls("batch") == 0
    assert installed.calls(method) == 0
    installed.client().app_info()

    installed.portal.clear_faults()
    installed.pass_time(minutes=10)
    installed.sweep()
    assert installed.told(message) == ["failed"]


def test_running_time_is_watched_before_the_portal_blocks(installed: PortalWorld) -> None:
    installed._bitrix24.portals[1].operating["app.info"] = 450.0

    installed.client().app_info()

    portal_id, now = installed.row.id, installed.now()
    assert rest_budget.take_call(portal_id, ["app.info"], now=now, rate=2, burst=40) > 500
    assert rest_budget.take_call(portal_id, ["profile"], now=now, rate=2, burst=40) == 0


def test_bucket_holds_for_all_processes_of_a_portal(installed: PortalWorld) -> None:
    portal_id, now = installed.row.id, installed.now()

    waits = [rest_budget.take_call(portal_id, ["x"], now=now, rate=2, burst=40) for _ in range(60)]

    assert waits.count(0.0) <= 40
    assert max(waits) <= 0.5


def _said_by_the_server(patch: pytest.MonkeyPatch, method: str, **otherwise: str) -> None:
    """The authorization server answers as it does, but for one field."""
    original = getattr(OAuth, method)

    def answer(self: OAuth, *args: Any, **kwargs: Any) -> Any:
        return replace(original(self, *args, **kwargs), **otherwise)

    patch.setattr(OAuth, method, answer)


def test_another_portals_address_is_never_taken(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installed.row.client_endpoint
    installed.portal.rename(path="/new", redirect=302)
    theirs = {"member_id": "f" * 32, "client_endpoint": "http://127.0.0.1:9/rest/"}
    _said_by_the_server(monkeypatch, "app_info", **theirs)

    with pytest.raises(PortalBusy):
        installed.client().app_info()

    assert installed.row.client_endpoint == before


def test_another_portals_tokens_are_never_taken(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tokens.service(installed.row.id)
    installed.portal.expire_tokens()
    _said_by_the_server(monkeypatch, "refresh", member_id="f" * 32)

    with pytest.raises(PortalBusy):
        installed.client().app_info()

    after = tokens.service(installed.row.id)
    assert before is not None
    assert after is not None
    assert after.tokens == before.tokens


def test_a_token_that_stays_expired_costs_one_refresh(installed: PortalWorld) -> None:
    installed.portal.add_fault(method="app.info", error="expired_token", count=0)

    with pytest.raises(PortalError):
        installed.client().app_info()

    assert refreshes(installed) == 1


def test_a_bucket_that_stays_full_is_waited_for_once(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        installed.pass_time(seconds=seconds)

    for module in (client, rest):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    installed.portal.add_fault(method="app.info", error="QUERY_LIMIT_EXCEEDED", count=0)

    with pytest.raises(BucketFull):
        installed.client().app_info()

    assert installed.calls("app.info") == 2


def test_an_unknown_word_of_the_authorization_server_costs_no_tokens(installed: PortalWorld) -> None:
    installed.portal.add_fault(side="auth", method="token", error="a_word_of_next_year", status=400, count=0)
    installed.portal.expire_tokens()

    with pytest.raises(PortalBusy):
        installed.client().app_info()

    assert installed.users_with_tokens() == {"1": ""}


def test_a_spare_takes_over_for_any_call(installed: PortalWorld) -> None:
    installed.portal.open(user=2)
    installed.portal.set_user(1, role="employee")

    assert installed.client().sender_codes() == ["sms"]
    assert installed.users_with_tokens() == {"2": ""}


def test_tokens_refreshed_just_before_our_turn_are_not_refreshed_again(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process is done between our look and our turn."""
    claim, others = PortalTokens.claim_refresh, [installed.client()]

    def claimed(self: PortalTokens, lease_s: float) -> str | None:
        while others:
            others.pop().app_info()
        return claim(self, lease_s)

    monkeypatch.setattr(PortalTokens, "claim_refresh", claimed)
    installed.portal.expire_tokens()
    installed.client().app_info()

    assert len(installed.portal.ledger("token", portal="*")) == 1


def test_one_lost_answer_is_noticed_by_nobody(installed: PortalWorld) -> None:
    installed.portal.set_auth(rotation="grace", lost_every=2)

    for _ in range(2):
        installed.portal.expire_tokens()
        installed.client().app_info()

    assert installed.users_with_tokens() == {"1": ""}


def test_refreshed_tokens_have_an_hour_as_well(installed: PortalWorld) -> None:
    for _ in range(2):
        installed.pass_time(minutes=59, seconds=30)
        installed.client().app_info()

    assert refreshes(installed) == 2
    assert installed.calls("app.info", "expired_token") == 0
