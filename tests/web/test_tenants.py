"""Every page with the ids of another portal: nothing of it is shown, and nothing of it changes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.services import services
from app.store.bulk import jobs
from app.store.database import db, statement
from app.store.portals import senders
from tests.worlds.visitor import Visitor

CANARY, NUMBER = "a text that belongs to another portal", "+4915112345688"


def _routes(admin: Visitor, ids: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Method, path, and whether it names a row; every route of the pages."""
    found = []
    for rule in admin.app.url_map.iter_rules():
        if not rule.rule.startswith("/ui/") or rule.endpoint == "ui_static.send":
            continue
        unknown = set(rule.arguments) - set(ids)
        assert not unknown, f"{rule.rule}: say here what another portal's {unknown} is"
        with admin.app.test_request_context():
            path = str(admin.app.url_for(rule.endpoint, **{name: ids[name] for name in rule.arguments}))
        found += [
            (method, path, bool(rule.arguments))
            for method in sorted({"GET", "POST"} & (rule.methods or set()))
        ]
    # The one that ends the session comes last: behind it every answer would be 401.
    return sorted(found, key=lambda route: route[1].endswith("/end-sessions"))


def _rows_of(portal_id: int) -> dict[str, list[Any]]:
    """Everything of a portal; the routes of the one who asks change only their own."""
    found = {}
    with statement() as connection:
        for table in db.metadata.sorted_tables:
            if "portal_id" in table.c:
                query = (
                    sa.select(table)
                    .where(table.c.portal_id == portal_id)
                    .order_by(*table.primary_key.columns)
                )
                found[table.name] = [tuple(row) for row in connection.execute(query)]
    return found


def test_no_route_shows_or_changes_what_belongs_to_another_portal(admin: Visitor, stranger: Visitor) -> None:
    message = stranger.message(CANARY, to=NUMBER)
    for number in range(5):  # more than one round of these routes could add to our own
        texts: dict[str, Any] = {"originator": f"STRANGER{number}", "name": {}, "description": {}}
        code = senders.add(stranger.portal.id, **texts, now=services().now())
    stranger.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "STRANGER"})
    assert CANARY in stranger.export().text
    (job,) = jobs.newest(stranger.portal.id, limit=1)
    before, kept = _rows_of(stranger.portal.id), stranger.portal
    # A table of the statistics belongs to nobody; a name that none has is refused like a stranger's row.
    ids = {"row_id": message.id, "code": code, "job_id": job.id, "name": "nobodys"}
    routes = _routes(admin, ids)

    for method, path, names_a_row in routes:
        answer = admin.ask(method, path, data={} if method == "POST" else None)
        assert CANARY not in answer.text, path
        assert NUMBER[3:] not in answer.text, path
        assert "STRANGER" not in answer.text, path
        if names_a_row:
            assert answer.status_code in (404, 405), (method, path, answer.status_code)

    assert sum(names_a_row for *_, names_a_row in routes) >= 8
    assert _rows_of(stranger.portal.id) == before
    assert stranger.portal == kept
