"""Many rows in one statement: what was written is what is read, whatever it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.messages import Lane, Work
from app.domain.status import MessageStatus
from app.store.database import statement, writing
from app.store.database.many import insert_many, update_many
from app.store.tables import messages
from tests.worlds.product import a_portal, product

AT = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
ODD = "“Grüße” 🎉 \\u0041 \"quoted\" 'so' {}[],%s?:x\n\t% \x7f"


def _row(portal_id: int, number: int, **more: Any) -> dict[str, Any]:
    row = {
        **dict.fromkeys(("origin", "sender_code", "recipient", "body_hash"), "x"),
        "portal_id": portal_id,
        "message_id": f"m{number}",
        "text": ODD,
        "bindings": [{"OWNER_ID": ODD}],
        "extra": {"a": {"b": ODD}},
        "received_at": AT,
        "expires_at": AT.astimezone(timezone(timedelta(hours=5))),
        "author_token_until": None,
        "status": MessageStatus.QUEUED,
        "work": Work.QUEUED,
        "lane": Lane.CAMPAIGN,
        "delivery_ms": 2**40,
        "is_resend": True,
    }
    return {**row, **more}


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_every_kind_of_value_comes_back_as_it_was(
    tmp_path: Path, dialect: str, request: pytest.FixtureRequest
) -> None:
    environment = {} if dialect == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    with product(tmp_path, **environment):
        portal = a_portal()
        given = [_row(portal.id, number) for number in range(3)]
        with writing() as connection:
            made = insert_many(connection, messages, given, returning=("id", "message_id"))
            again = insert_many(
                connection,
                messages,
                [_row(portal.id, 1, text="another"), _row(portal.id, 7)],
                ignore_on=("portal_id", "message_id"),
                returning=("message_id",),
            )
            ids = {row.message_id: row.id for row in made}
            later = [
                {"id": ids["m0"], "due_at": AT, "is_resend": False, "reason_text": ODD},
                {"id": ids["m2"], "due_at": None, "is_resend": True, "reason_text": ""},
            ]
            update_many(connection, messages, later)
            update_many(connection, messages, [])

        assert sorted(ids) == ["m0", "m1", "m2"]
        assert [row.message_id for row in again] == ["m7"]
        with statement() as connection:
            query = sa.select(messages).order_by(messages.c.message_id)
            rows = [dict(row._mapping) for row in connection.execute(query)]
    for row in rows:
        assert {name: row[name] for name in given[0]} == {
            **given[0],
            "message_id": row["message_id"],
            "is_resend": row["message_id"] != "m0",
        }
    assert [(row["due_at"], row["reason_text"]) for row in rows] == [
        (AT, ODD),
        (None, ""),
        (None, ""),
        (None, ""),
    ]
