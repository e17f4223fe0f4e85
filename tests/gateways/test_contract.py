"""The contract kit over every adapter and preset; an author outside this repository subclasses it alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.gateways.adapters.twilio import Twilio
from app.gateways.kit import Case, Contract
from tests.worlds.gateways import ADAPTERS, SAMPLES

_HEADINGS = ["Get an account", "Settings", "Delivery reports", "Limits and quirks", "How it was tried"]


class TestContract(Contract):
    @pytest.fixture(params=ADAPTERS)
    def case(self, request: pytest.FixtureRequest) -> Case:
        return Case(ADAPTERS[request.param], SAMPLES / f"{request.param}.json")

    def test_documentation_has_every_setting_and_heading(self, case: Case) -> None:
        slug = case.gateway.slug
        page = (Path(__file__).parents[2] / "docs" / "gateways" / f"{slug}.md").read_text()

        headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
        assert headings == _HEADINGS
        for field in case.gateway.fields:
            assert f"| `{field.name}` |" in page


def test_missing_samples_are_named_by_the_file_that_is_wanted(tmp_path: Path) -> None:
    case = Case(Twilio, tmp_path / "twilio.json")

    with pytest.raises(pytest.fail.Exception, match=r"twilio has no samples: write .*twilio\.json"):
        case.make()
