"""Our own rules: in one order, and each says why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain import policy
from app.domain.messages import Reason
from app.domain.policy import End, Hold, Send, Standing
from app.domain.portals import PortalSettings, PortalState
from app.domain.status import MessageStatus
from tests.domain.test_life import NOW, a_message

READY = Standing()
OLD = NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("values", "settings", "reason"),
    [
        ({}, {}, None),
        ({"recipient": "", "body_hash": ""}, {}, Reason.ERASED),
        ({"recipient": "", "expires_at": OLD}, {}, Reason.EXPIRED),
        ({"recipient": ""}, {}, Reason.BAD_NUMBER),
        ({"text": " \n"}, {}, Reason.NO_TEXT),
        ({"recipient": "12"}, {}, Reason.BAD_NUMBER),
        ({"recipient": "+449098790000"}, {}, Reason.EXPENSIVE),
        ({"recipient": "+449098790000"}, {"countries": ("DE",), "expensive_numbers": True}, Reason.COUNTRY),
        ({"recipient": "+449098790000"}, {"expensive_numbers": True}, None),
        ({}, {"countries": ("FR",)}, Reason.COUNTRY),
    ],
)
def test_each_rule_has_its_place(
    values: dict[str, object], settings: dict[str, object], reason: Reason | None
) -> None:
    message = a_message(**values)

    found = policy.decide(
        message,
        PortalState.ACTIVE,
        PortalSettings(**settings),  # type: ignore[arg-type]
        READY,
        now=NOW,
    )

    assert isinstance(found, Send) if reason is None else isinstance(found, End) and found.reason is reason


def test_a_removed_app_sends_nothing() -> None:
    found = policy.decide(a_message(), PortalState.UNINSTALLED, PortalSettings(), READY, now=NOW)

    assert found == End(Reason.UNINSTALLED)


def test_what_held_a_message_is_the_reason_of_its_end() -> None:
    message = a_message(expires_at=OLD, reason="no_gateway")

    found = policy.decide(message, PortalState.ACTIVE, PortalSettings(), READY, now=NOW)

    assert found == End(Reason.EXPIRED, "no_gateway")


@pytest.mark.parametrize(
    ("account", "hold"),
    [
        (None, Hold(NOW + timedelta(days=1), Reason.NO_GATEWAY)),
        (
            Standing(True, "401", NOW + timedelta(minutes=5)),
            Hold(NOW + timedelta(minutes=5), Reason.ACCOUNT_STOPPED, "401"),
        ),
        (Standing(True, "401", OLD), Hold(NOW + policy.LOOK_AGAIN, Reason.ACCOUNT_STOPPED, "401")),
        (
            Standing(True, "401", NOW + timedelta(days=2)),
            Hold(NOW + timedelta(days=1), Reason.ACCOUNT_STOPPED, "401"),
        ),
    ],
)
def test_without_anybody_to_send_it_it_waits(account: Standing | None, hold: Hold) -> None:
    assert policy.decide(a_message(), PortalState.ACTIVE, PortalSettings(), account, now=NOW) == hold


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"deadline_at": NOW}, PortalState.ACTIVE),
        ({"expires_at": NOW}, PortalState.ACTIVE),
        ({}, PortalState.UNINSTALLED),
        ({"recipient": ""}, PortalState.ACTIVE),
    ],
)
def test_an_unknown_outcome_is_not_repeated_for_ever(values: dict[str, object], state: PortalState) -> None:
    message = a_message(**{"status": MessageStatus.UNKNOWN, **values})

    assert policy.decide_repeat(message, state, PortalSettings(), READY, now=NOW) is None
    fresh = a_message(status=MessageStatus.UNKNOWN)
    again = policy.decide_repeat(fresh, PortalState.ACTIVE, PortalSettings(), READY, now=NOW)
    assert isinstance(again, Send)
