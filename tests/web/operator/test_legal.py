"""The pages that the marketplace's card links to."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import ConfigError, load_config
from tests.worlds.product import ENVIRONMENT, product


@pytest.mark.parametrize("path", ["/privacy", "/license"])
def test_the_pages_name_the_app_its_operator_and_whom_to_ask(tmp_path: Path, path: str) -> None:
    with product(
        tmp_path, APP_NAME="Acme <SMS>", OPERATOR_NAME="Acme & Co", SUPPORT_CONTACT="help@acme.example"
    ) as app:
        answer = app.test_client().get(path)

    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    for word in ("Acme &lt;SMS&gt;", "Acme &amp; Co", "help@acme.example"):
        assert word in answer.text
    assert "{" not in answer.text


def test_the_operators_own_text_is_shown_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.config.INSTANCE_DIR", tmp_path)
    (tmp_path / "privacy.txt").write_text("# Ours\n\n<script>x</script>\n\n- one\n- two\n")

    with product(tmp_path) as app:
        answer = app.test_client().get("/privacy")

    assert "<h1>Ours</h1>" in answer.text
    assert "<li>two</li>" in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text


def test_the_operators_own_page_takes_over(tmp_path: Path) -> None:
    with product(tmp_path, PRIVACY_URL="https://acme.example/privacy") as app:
        answer = app.test_client().get("/privacy")

    assert (answer.status_code, answer.location) == (302, "https://acme.example/privacy")


def test_a_page_of_ones_own_has_to_be_https() -> None:
    with pytest.raises(ConfigError, match="LICENSE_URL"):
        load_config({**ENVIRONMENT, "LICENSE_URL": "acme.example/terms"})
