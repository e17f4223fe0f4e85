"""What a call that failed says of its message."""

from __future__ import annotations

import pytest

from app.domain.outcomes import Outcome, RefusalKind, Refused, Unknown
from app.gateways.answers import outcome_of
from app.transport import AddressRefused, NoAnswer, NotSent


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NoAnswer("the answer broke off"), Unknown("the answer broke off")),
        (NotSent("refused"), Refused(RefusalKind.TEMPORARY, "not_sent", "refused")),
        (AddressRefused("private"), Refused(RefusalKind.CONFIG, "address", "private")),
        (KeyError("secret"), Unknown("the adapter failed: KeyError")),
    ],
)
def test_only_what_was_surely_not_sent_may_be_sent_again(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) == outcome
