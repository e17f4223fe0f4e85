"""The page that sends a test message."""

from __future__ import annotations

from app.services import services
from app.store.database import utcnow
from app.store.messages import by_hand
from tests.worlds.visitor import Visitor


def _send(person: Visitor, text: str) -> int:
    return person.submit("/ui/test", number="+49 151 12345678", text=text).status_code


def test_five_test_messages_a_minute_are_the_most_for_each_administrator(admin: Visitor) -> None:
    first = [_send(admin, f"No. {number}") for number in range(8)]
    colleague = Visitor(admin.app, admin.sandbox)
    colleague.open(user=2)

    assert first == [200] * 5 + [429] * 3
    assert _send(colleague, "of another one") == 200
    tests = by_hand.count_tests(
        admin.portal.id, "1", since=utcnow() - services().timing.span("sweep_s") * 100
    )
    assert tests == 5


def test_who_sent_too_many_is_told_when_to_go_on(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "DEMO"})
    for number in range(5):
        _send(admin, f"No. {number}")

    answer = admin.submit("/ui/test", number="+49 151 12345678", text="one more")

    assert "You can send five test messages a minute. Try again in a minute." in answer.text
    assert "one more" in answer.text
