"""A call to Bitrix24 as it is written down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestCall:
    """One call for the log, secrets already removed.

    `operating_s` and `operating_reset_at` (unix time) are the portal's account of the method's running time.
    """

    method: str
    params: str
    http_status: int
    error: str
    answer: str
    took_ms: int
    operating_s: float | None = None
    operating_reset_at: float | None = None
