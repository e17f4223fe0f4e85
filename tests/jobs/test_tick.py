"""A worker's round, where the database is not as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app import create_app
from app.config import load_config
from app.jobs.tick import tick
from app.services import services
from tests.worlds.product import ENVIRONMENT


def test_a_worker_before_the_migrations_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(load_config({**ENVIRONMENT, "DATABASE_URL": f"sqlite:///{tmp_path}/app.db"}))

    with app.app_context():
        tick(services())

    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (about_it,) = (line for line in said if line["event"] == "not swept, it is tried again")
    assert about_it["why"] == "it has no tables: run `flask --app app db upgrade`"
    assert not [line for line in said if "trace" in line]
