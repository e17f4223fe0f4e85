"""The migrations lead to the tables that the code works with, there and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask_migrate import downgrade, upgrade

from app.store.database import db
from tests.product import product


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_the_migrated_schema_is_that_of_the_code(
    tmp_path: Path, dialect: str, request: pytest.FixtureRequest
) -> None:
    environment = {} if dialect == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    with product(tmp_path, **environment):
        downgrade(revision="base")
        upgrade()
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, db.metadata) == []
