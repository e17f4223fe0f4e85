"""Addresses whose secret was renewed: whose they were, for as long as they are good."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from app.store.database.secrets import secret_box
from app.store.tables import old_secrets

Kind = Literal["handler", "report"]


def portal_of(secret: str, *, now: datetime) -> sa.ScalarSelect[Any]:
    """The portal whose HANDLER had this secret, while that is good."""
    return _owner(old_secrets.c.portal_id, "handler", secret, now)


def account_of(secret: str, *, now: datetime) -> sa.ScalarSelect[Any]:
    """The account whose reports had this secret, while that is good."""
    return _owner(old_secrets.c.account_id, "report", secret, now)


def _owner(column: sa.Column[Any], kind: Kind, secret: str, now: datetime) -> sa.ScalarSelect[Any]:
    is_good = sa.or_(old_secrets.c.until.is_(None), old_secrets.c.until > now)
    is_it = sa.and_(old_secrets.c.kind == kind, old_secrets.c.hash.in_(secret_box().hashes(secret)))
    return sa.select(column).where(is_it, is_good).limit(1).scalar_subquery()
