"""A page whose query forgot its portal shows nothing: the second fence between portals."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.store.database import statement
from app.store.messages import messages as message_rows
from app.store.tables import attempts, messages
from tests.worlds.visitor import Visitor

CANARY = "a text that belongs to another portal"


def _reads(monkeypatch: pytest.MonkeyPatch, query: sa.Select[tuple[str]]) -> None:
    """Whoever opens a message's page makes this query, a mistake of ours."""

    def forgetful(_portal_id: int, _row_id: int) -> None:
        with statement() as connection:
            raise LookupError(connection.scalars(query).all())

    monkeypatch.setattr(message_rows, "by_row", forgetful)


def _forgetful(number: int, stranger: Visitor) -> sa.Select[tuple[str]]:
    text, other = messages.alias(), stranger.portal.id
    return [
        sa.select(messages.c.text),
        sa.select(text.c.text).where(text.c.id > 0),
        sa.select(messages.c.text).where(messages.c.portal_id == other),
        sa.select(messages.c.text).where(messages.c.portal_id.in_([other])),
        sa.select(messages.c.text).join(attempts, attempts.c.message_row_id == messages.c.id, isouter=True),
        sa.select(sa.select(messages.c.text).limit(1).scalar_subquery()),
    ][number]


@pytest.mark.parametrize("number", range(6))
def test_a_query_without_its_portal_answers_nothing_and_says_why_in_the_log(
    admin: Visitor,
    stranger: Visitor,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stranger.message(CANARY)
    _reads(monkeypatch, _forgetful(number, stranger))
    admin.app.testing, testing = False, admin.app.testing
    monkeypatch.setitem(admin.app.config, "PROPAGATE_EXCEPTIONS", False)

    answer = admin.get("/ui/messages/1")
    admin.app.testing = testing

    assert answer.status_code == 500
    assert CANARY not in answer.text
    assert "FenceError" in caplog.text
    assert CANARY not in caplog.text
