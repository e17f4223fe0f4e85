"""The contract of a gateway as tests, for adapters of this repository and of others.

An author writes a file of samples (see `tests/samples/README.md` for its keys) and a class:

    from app.gateways.kit import Contract

    class TestAcme(Contract):
        gateway = Acme
        samples = Path(__file__).with_name("acme.json")

Needs pytest, which is not installed in production: nothing outside of tests imports this.
"""

import pytest

pytest.register_assert_rewrite("app.gateways.kit.contract")

from app.gateways.kit.case import Case  # noqa: E402 - after the line that lets its assertions speak
from app.gateways.kit.contract import Contract  # noqa: E402

__all__ = ["Case", "Contract"]
