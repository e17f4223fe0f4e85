"""A second fence between portals: a page's query that could read another portal's rows never runs.

The first fence is each query's own condition. This one reads the statement just before the database does:
every table that has a portal must be bound to the session's portal, by value or through another table that
is. Which tables are bound is worked out once for each compiled form of a statement; a call compares values.

A write goes by the number of a row that a fenced query has found, so only a portal that it names is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from flask import g, has_app_context
from sqlalchemy.engine import Engine
from sqlalchemy.sql import operators, visitors

ALL_PORTALS = {"all_portals": True}  # options of a query of pages that tells nothing of any one portal


class FenceError(Exception):
    """A statement of a page reaches beyond its portal: a mistake of ours, never the person's."""


class _Seen(NamedTuple):
    loose: frozenset[str]  # tables that nothing binds to a portal
    binds: frozenset[str]  # the names of the values that bind the others


def fence_in(portal_id: int) -> None:
    """For the rest of this request its queries read this portal alone."""
    g.fenced_portal = portal_id


def prepare(engine: Engine) -> None:
    seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _check(_connection: Any, _cursor: Any, _text: Any, _params: Any, context: Any, _many: bool) -> None:
        portal_id = g.get("fenced_portal") if has_app_context() else None
        compiled = getattr(context, "compiled", None)
        if portal_id is None or compiled is None or context.execution_options.get("all_portals"):
            return
        found = seen.get(compiled)
        if found is None:
            found = seen[compiled] = _read(compiled)
        if found.loose:
            raise FenceError(f"a query of a page names no portal for {', '.join(sorted(found.loose))}")
        for row in context.compiled_parameters:
            if any(one != portal_id for name in found.binds for one in _values(row, name)):
                raise FenceError("a statement of a page names another portal than its session")


def _values(row: Mapping[str, Any], name: str) -> list[Any]:
    """What stands for a parameter: itself, or `name_1`, `name_2` ... for each one of a list."""
    if name in row:
        return [row[name]]
    return [value for key, value in row.items() if key.rpartition("_")[0] == name]


def _read(compiled: Any) -> _Seen:
    tables, bound, binds = set(), set(), set()
    pairs: list[set[str]] = []
    for part in visitors.iterate(compiled.statement):
        if isinstance(part, sa.Table) and ("portal_id" in part.c or part.name == "portals"):
            tables.add(part.name)
        elif isinstance(part, sa.BinaryExpression) and part.operator in (operators.eq, operators.in_op):
            names = [_table_of(part.left), _table_of(part.right)]
            if all(names):
                pairs.append(set(names))
            for name, other in zip(names, (part.right, part.left), strict=True):
                if name and isinstance(other, sa.BindParameter):
                    bound.add(name)
                    binds.add(compiled.bind_names[other])
    if isinstance(compiled.statement, sa.Insert) and "portal_id" in compiled.binds:
        binds.add("portal_id")
    for pair in list(_joined(pairs, bound)):
        bound |= pair
    only_reads = isinstance(compiled.statement, sa.Select) and compiled.statement._for_update_arg is None
    return _Seen(frozenset(tables - bound if only_reads else ()), frozenset(binds))


def _joined(pairs: list[set[str]], bound: set[str]) -> Iterator[set[str]]:
    """Tables that are bound by being of the same portal as one that is."""
    reached = set(bound)
    for _ in pairs:
        for pair in pairs:
            if pair & reached:
                reached |= pair
                yield pair


def _table_of(side: Any) -> str:
    """The table whose portal this says; empty where it says none. `portal_id + 0` keeps an index away."""
    if isinstance(side, sa.BinaryExpression) and side.operator is operators.add:
        side = side.left
    table = getattr(side, "table", None)
    while isinstance(table, sa.Alias):
        table = table.element
    if not isinstance(table, sa.Table):
        return ""
    return table.name if side.name == ("id" if table.name == "portals" else "portal_id") else ""
