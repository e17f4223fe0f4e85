"""The batch of statuses: what its answer leaves out, and how much goes into one."""

from __future__ import annotations

from typing import Any

import pytest

from app.bitrix.client import BATCH_LIMIT, PortalClient, StatusUpdate
from app.bitrix.errors import portal_error
from app.domain.status import MessageStatus
from tests.worlds.portals import PortalWorld


def test_a_command_that_the_answer_leaves_out_counts_as_not_told(
    installed: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PortalClient._call

    def without_results(self: PortalClient, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "batch":
            return {"result": [], "result_error": []}, self._credentials.present()
        return original(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(PortalClient, "_call", without_results)
        message = installed.message_that_fails()
        installed.work()
    assert installed.told(message) == []

    for _ in range(2):
        installed.pass_time(minutes=10)
        installed.sweep()

    assert installed.told(message) == ["failed"]


def test_a_batch_is_bounded(installed: PortalWorld) -> None:
    updates = [StatusUpdate(str(n), "sms", f"m{n}", MessageStatus.FAILED) for n in range(BATCH_LIMIT + 1)]

    with pytest.raises(ValueError, match="50"):
        installed.client().update_message_statuses(updates)


@pytest.mark.parametrize(("said_s", "pause_s"), [(None, 60.0), (3.0, 60.0), (90.0, 90.0)])
def test_a_pause_is_at_least_what_the_code_asks_for(said_s: float | None, pause_s: float) -> None:
    assert portal_error("OPERATION_TIME_LIMIT", "", retry_after_s=said_s).retry_after_s == pause_s
