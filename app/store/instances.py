"""Which processes take work, on which machines; and machines that are to take none for now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from app.domain.audit import Action
from app.store import audit
from app.store.database import insert_or_ignore, statement, upsert, writing
from app.store.tables import drained_hosts, instances

KEPT = timedelta(days=1)  # a process that was killed is still shown for so long

State = Literal["working", "draining", "drained"]


@dataclass(frozen=True)
class Instance:
    """One process, as it last said."""

    name: str
    kind: str  # worker or smpp
    host: str
    version: str
    state: State
    started_at: datetime
    seen_at: datetime


def say(me: Instance) -> bool:
    """Write down that a process lives, and what it does. Whether its machine is to take no work."""
    values = {name: getattr(me, name) for name in me.__dataclass_fields__}
    with writing() as connection:
        insert = upsert(connection, instances).values(**values)
        connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
        connection.execute(sa.delete(instances).where(instances.c.seen_at < me.seen_at - KEPT))
        return connection.scalar(_drained(me.host)) is not None


def leave(name: str) -> None:
    """The process ends."""
    with writing() as connection:
        connection.execute(sa.delete(instances).where(instances.c.name == name))


def all_instances() -> list[Instance]:
    with statement() as connection:
        rows = connection.execute(sa.select(instances).order_by(instances.c.host, instances.c.name))
        return [Instance(**row._mapping) for row in rows]


def _drained(host: str) -> sa.Select[tuple[str]]:
    return sa.select(drained_hosts.c.host).where(drained_hosts.c.host == host)


def is_drained(host: str) -> bool:
    with statement() as connection:
        return connection.scalar(_drained(host)) is not None


def drained() -> list[str]:
    with statement() as connection:
        return list(connection.scalars(sa.select(drained_hosts.c.host).order_by(drained_hosts.c.host)))


def drain(host: str, *, now: datetime) -> bool:
    """From now on nothing on this machine takes work. False when that is so already."""
    with writing() as connection:
        insert = insert_or_ignore(connection, drained_hosts, "host").values(host=host, since=now)
        changed = connection.execute(insert).rowcount
        if changed:
            audit.record(connection, Action.HOST_DRAINED, None, about=host, at=now)
    return bool(changed)


def end_drain(host: str) -> bool:
    with writing() as connection:
        changed = connection.execute(sa.delete(drained_hosts).where(drained_hosts.c.host == host)).rowcount
        if changed:
            audit.record(connection, Action.HOST_CONTINUED, None, about=host)
    return bool(changed)
