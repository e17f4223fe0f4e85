"""Every error code that Bitrix24 names, through the real client: what becomes of the portal and the status.

Both columns of HTTP statuses are tried, the documented ones and the kernel's: neither decides anything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.bitrix.errors import OAUTH_CODES, PORTAL_CODES
from app.domain.portals import PortalState
from app.store.portals import rest_log, senders
from sandbox.portal.errors import COMMERCIAL_PLANS, DOCS, KERNEL, RestError
from tests.worlds.portals import PortalWorld, portal_world

ACTIVE, RECONNECT = PortalState.ACTIVE, PortalState.RECONNECT


@dataclass(frozen=True)
class Does:
    """What we do about a code.

    `state` is the portal's at once, `later` when the code is still there some minutes on; `calls` is how
    often the refused call was made at first. The status is kept in every case, and told once the trouble
    is over: by itself within `hours`, or when an administrator opens the app.
    """

    state: PortalState = ACTIVE
    calls: int = 1
    hours: float = 1.3
    by_admin: bool = False
    later: PortalState | None = None
    alarm: bool = False


SOON = Does(hours=0.05)
REFUSED = Does(alarm=True)  # a defect of ours or theirs: not repeated for an hour
NEEDS_ADMIN = Does(RECONNECT, by_admin=True)

# Contract 4.5: (code, description or None for the usual one) -> what we do.
SYSTEM = {
    ("QUERY_LIMIT_EXCEEDED", None): Does(calls=2, hours=0.05),
    ("OPERATION_TIME_LIMIT", None): Does(hours=0.2),
    ("OVERLOAD_LIMIT", None): Does(alarm=True),
    ("INTERNAL_SERVER_ERROR", None): SOON,
    ("ERROR_UNEXPECTED_ANSWER", None): SOON,
    ("CONNECTION_ERROR", None): SOON,
    ("expired_token", None): Does(RECONNECT, calls=2, by_admin=True),
    ("invalid_token", None): Does(RECONNECT, calls=2, by_admin=True),
    ("NO_AUTH_FOUND", None): Does(RECONNECT, calls=2, by_admin=True),
    ("insufficient_scope", None): Does(RECONNECT),
    ("authorization_error", None): Does(RECONNECT),
    ("user_access_error", None): Does(RECONNECT),
    ("ACCESS_DENIED", COMMERCIAL_PLANS): Does(PortalState.NO_REST),
    ("ACCESS_DENIED", "Access denied!"): Does(RECONNECT),
    ("ACCESS_DENIED", "Access denied! Application context required"): REFUSED,
    ("ACCESS_DENIED", "Application context required"): REFUSED,
    ("INVALID_CREDENTIALS", None): Does(RECONNECT),
    ("APPLICATION_NOT_FOUND", None): Does(later=PortalState.GONE),
    ("PAYMENT_REQUIRED", None): Does(PortalState.PAYMENT),
    ("PORTAL_DELETED", None): Does(PortalState.GONE),
    ("ERROR_METHOD_NOT_FOUND", None): REFUSED,
    ("INVALID_REQUEST", None): REFUSED,
    ("ERROR_MANIFEST_IS_NOT_AVAILABLE", None): REFUSED,
    ("ERROR_ARGUMENT", None): REFUSED,
    ("ERROR_CORE", None): REFUSED,
    ("ERROR_NOT_FOUND", None): REFUSED,
    ("WRONG_ENCODING", None): REFUSED,
    ("WRONG_AUTH_TYPE", None): REFUSED,
    ("METHOD_CONFIRM_WAITING", None): REFUSED,
    ("METHOD_CONFIRM_DENIED", None): REFUSED,
    ("ERROR_BATCH_LENGTH_EXCEEDED", None): REFUSED,
    ("ERROR_BATCH_METHOD_NOT_ALLOWED", None): REFUSED,
    ("NOBODY_KNOWS_THIS", None): REFUSED,
}

# Contract 5.6, and what can befall one command of a batch: (code, description) -> state, is it told later?
COMMANDS = {
    ("ERROR_SENDER_VALIDATION_FAILURE", "Empty sender code!"): (ACTIVE, False),
    ("ERROR_SENDER_VALIDATION_FAILURE", "Wrong sender code!"): (ACTIVE, False),
    ("ERROR_MESSAGE_STATUS_INCORRECT", None): (ACTIVE, False),
    ("ERROR_MESSAGE_NOT_FOUND", None): (ACTIVE, True),
    ("ERROR_METHOD_NOT_FOUND", None): (ACTIVE, False),
    ("ACCESS_DENIED", "Access denied!"): (RECONNECT, True),
    ("ACCESS_DENIED", "Access denied! Application context required"): (ACTIVE, False),
    ("insufficient_scope", None): (RECONNECT, True),
    ("OPERATION_TIME_LIMIT", None): (ACTIVE, True),
    ("INTERNAL_SERVER_ERROR", None): (ACTIVE, True),
    ("NOBODY_KNOWS_THIS", None): (ACTIVE, False),
}

# Contract 1.11 and 5.1 to 5.5: (method, code, description) -> is the portal in step all the same?
REGISTRATION = {
    ("messageservice.sender.add", "ERROR_SENDER_VALIDATION_FAILURE", "Empty data!"): False,
    ("messageservice.sender.add", "ERROR_SENDER_VALIDATION_FAILURE", "Empty sender NAME!"): False,
    ("messageservice.sender.add", "ERROR_SENDER_VALIDATION_FAILURE", "Unknown sender message TYPE!"): False,
    ("messageservice.sender.add", "ERROR_WRONG_HANDLER_URL", None): False,
    ("messageservice.sender.add", "ERROR_UNSUPPORTED_PROTOCOL", None): False,
    ("messageservice.sender.add", "ERROR_HANDLER_URL_MATCH", None): False,
    ("messageservice.sender.add", "ERROR_SENDER_ADD_FAILURE", "Sender save error!"): False,
    ("messageservice.sender.update", "ERROR_SENDER_CODE_REQUIRED", "CODE is required!"): False,
    ("messageservice.sender.update", "ERROR_SENDER_OTHER_PARAMS_REQUIRED", "At least one other"): False,
    ("messageservice.sender.update", "ERROR_SENDER_UPDATE_FAILURE", "Sender update error!"): False,
    ("messageservice.sender.update", "ERROR_WRONG_HANDLER_URL", None): False,
    ("messageservice.sender.update", "ERROR_SENDER_NOT_FOUND", "Sender not found!"): True,
    ("messageservice.sender.update", "ERROR_METHOD_NOT_FOUND", None): True,
    ("messageservice.sender.delete", "ERROR_SENDER_NOT_FOUND", "Sender not found!"): True,
    ("messageservice.sender.delete", "ERROR_SENDER_VALIDATION_FAILURE", "Wrong sender code!"): False,
    ("messageservice.sender.list", "ACCESS_DENIED", "Access denied!"): False,
    ("event.bind", "ERROR_CORE", "Unable to set event handler: Handler already binded"): True,
    ("event.bind", "ERROR_EVENT_NOT_FOUND", None): True,
    ("event.bind", "ERROR_WRONG_HANDLER_URL", None): True,
    ("event.bind", "WRONG_AUTH_TYPE", None): True,
}

# Contract 3.6: what the authorization server says to a refresh.
REFRESH = {
    "invalid_request": Does(alarm=True, hours=0.2),
    "invalid_client": Does(later=PortalState.GONE),
    "invalid_grant": Does(RECONNECT, by_admin=True),
    "insufficient_scope": Does(alarm=True, hours=0.2),
    "invalid_scope": Does(alarm=True, hours=0.2),
    "PAYMENT_REQUIRED": Does(PortalState.PAYMENT),
    "NOT_INSTALLED": Does(later=PortalState.GONE),
    "WRONG_CLIENT": Does(later=PortalState.GONE),
    "nobody_knows_this": SOON,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[PortalWorld]:
    with portal_world() as made:
        made.install()
        yield made


@pytest.fixture
def world(shared: PortalWorld) -> Iterator[PortalWorld]:
    """One portal for all cases: each of them leaves it as well as it was."""
    shared.portal.clear_ledger()
    shared.portal.empty_bucket()  # it goes by the real clock, and on a quick machine all cases take seconds
    if shared.row.state is not ACTIVE:
        shared.portal.open(user=1)
    yield shared
    shared.portal.clear_faults()
    shared.engine.hints.clear()
    shared.pass_time(hours=1.1)  # the longest pause that a case leaves behind


def ids(table: object) -> list[str]:
    return [" ".join(filter(None, key)) if isinstance(key, tuple) else str(key) for key in table]  # type: ignore[attr-defined]


def _columns(said: tuple[str, str | None]) -> list[str]:
    error = RestError(*said)
    return [KERNEL] if error.status(KERNEL) == error.status(DOCS) else [KERNEL, DOCS]


_SYSTEM_CASES = [(*said, column, does) for said, does in SYSTEM.items() for column in _columns(said)]


@pytest.mark.parametrize(
    ("code", "description", "column", "does"), _SYSTEM_CASES, ids=ids([case[:3] for case in _SYSTEM_CASES])
)
def test_system_error_of_a_push(
    world: PortalWorld,
    code: str,
    description: str | None,
    column: str,
    does: Does,
    caplog: pytest.LogCaptureFixture,
) -> None:
    world.portal.configure(error_statuses=column)
    words = {} if description is None else {"description": description}
    concerns_all = does.later is not None or does.state is not ACTIVE
    world.portal.add_fault(method="*" if concerns_all else "batch", error=code, count=0, **words)

    message = world.message_that_fails(auth="none")
    world.work()

    assert world.row.state is does.state
    assert world.told(message) == []
    assert world.calls("batch") == does.calls
    assert bool([r for r in caplog.records if r.levelno == logging.ERROR]) is does.alarm
    assert code.upper() in rest_log.error_counts(world.row.id)
    _see_it_heal(world, message, does)


@pytest.mark.parametrize(("code", "does"), REFRESH.items(), ids=ids(REFRESH))
def test_error_of_the_authorization_server(
    world: PortalWorld, code: str, does: Does, caplog: pytest.LogCaptureFixture
) -> None:
    world.portal.add_fault(side="auth", method="token", error=code, count=0)
    world.portal.expire_tokens()

    message = world.message_that_fails(auth="none")
    world.work()

    assert world.row.state is does.state
    assert world.told(message) == []
    assert bool([r for r in caplog.records if r.levelno == logging.ERROR]) is does.alarm
    _see_it_heal(world, message, does)


def _see_it_heal(world: PortalWorld, message: str, does: Does) -> None:
    """The same error after a while, then no error any more."""
    if does.later is not None:
        world.pass_time(minutes=11)
        world.sweep()
        assert world.row.state is does.later
        assert world.told(message) == []
    world.portal.clear_faults()
    world.pass_time(hours=does.hours)
    if does.by_admin:
        world.sweep()
        assert world.told(message) == [], "this should need an administrator"
        world.portal.open(user=1)
    world.sweep()
    world.sweep()  # what the first one mended can be told now
    assert world.row.state is ACTIVE
    assert world.told(message) == ["failed"]


@pytest.mark.parametrize(("said", "does"), COMMANDS.items(), ids=ids(COMMANDS))
def test_error_of_one_command_never_holds_up_the_others(
    world: PortalWorld, said: tuple[str, str | None], does: tuple[PortalState, bool]
) -> None:
    code, description = said
    state, told_later = does
    words = {} if description is None else {"description": description}
    world.portal.set_queue(paused=True)
    ids = [world.message_that_fails(auth="none") for _ in range(3)]
    # In a batch the fault hits the first command.
    world.portal.add_fault(
        method="messageservice.message.status.update", error=code, count=0, every=3, **words
    )
    world.portal.set_queue(paused=False)
    world.work()

    assert world.row.state is state
    told = [world.told(message) for message in ids]
    assert sorted(map(len, told)) == [0, 1, 1]
    unlucky = ids[told.index([])]
    world.portal.clear_faults()
    world.pass_time(hours=1.3)
    world.sweep()
    world.sweep()
    assert world.told(unlucky) == (["failed"] if told_later else [])


@pytest.mark.parametrize(("said", "in_step"), REGISTRATION.items(), ids=ids(REGISTRATION))
def test_error_of_a_registration_call(
    world: PortalWorld, said: tuple[str, str, str | None], in_step: bool
) -> None:
    method, code, description = said
    _make_reconcile_call(world, method)
    words = {} if description is None else {"description": description}
    # A sender that is missing in one call is there in the next: what happens between two processes.
    count = 1 if code == "ERROR_SENDER_NOT_FOUND" else 0
    world.portal.add_fault(method=method, error=code, count=count, **words)

    world.pass_time(hours=30)
    world.sweep()

    [sender] = [s for s in senders.of_portal(world.row.id) if s.code == "sms"]
    assert bool(sender.error) is not in_step
    world.portal.clear_faults()
    world.pass_time(hours=1.3)
    world.sweep()
    assert world.row.state is ACTIVE
    assert "sms" in [each["code"] for each in world.portal.senders()]


def _make_reconcile_call(world: PortalWorld, method: str) -> None:
    """Bring the portal out of step so that the next reconcile calls this method."""
    if method.endswith(".add"):
        world.portal.update()  # drops the senders
        world.portal.configure(scope="*")
        world.engine.hints.clear()
    elif method.endswith(".update"):
        senders.change(world.row.id, "sms", name=f"Named at {world.now()}", now=world.now())
    elif method.endswith(".delete"):
        world.client().add_sender(
            f"stranger_{world.now():%H%M%S}", "http://127.0.0.1/sms", "Stranger", "Unknown here"
        )
    elif method == "event.bind":
        url = world.services.events_url
        world.client().unbind_event("ONAPPPAYMENT", url)


def test_no_code_of_our_tables_is_left_out() -> None:
    tried = {code.upper() for code, *_ in (*SYSTEM, *COMMANDS)} | {
        code.upper() for _, code, _ in REGISTRATION
    }

    assert set(PORTAL_CODES) - tried == {"ERROR_SENDER_ALREADY_INSTALLED"}  # see test_registration
    assert set(OAUTH_CODES) == {code.upper() for code in REFRESH if code != "nobody_knows_this"}


def test_unknown_code_is_logged_and_counted(world: PortalWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.portal.add_fault(method="batch", error="NOBODY_KNOWS_THIS")
    world.message_that_fails()
    world.work()

    assert [r.code for r in caplog.records if r.getMessage() == "unknown portal error"] == [
        "NOBODY_KNOWS_THIS"
    ]  # type: ignore[attr-defined]
    printed = world.app.test_cli_runner().invoke(args=["portals", "errors", world.row.member_id])
    assert "NOBODY_KNOWS_THIS  (nobody knows this code)" in printed.output


@pytest.mark.parametrize("kind", ["html", "empty", "junk", "drop", "lost"])
def test_answers_that_are_none_cost_nothing_but_time(world: PortalWorld, kind: str) -> None:
    world.portal.add_fault(method="batch", kind=kind, count=2)
    message = world.message_that_fails(auth="none")
    world.work()
    assert world.row.state is ACTIVE

    for _ in range(3):
        world.pass_time(minutes=1)
        world.sweep()

    assert world.told(message) == ["failed"]
