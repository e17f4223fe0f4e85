"""The release that this code belongs to: in `/metrics` and in the support report."""

from __future__ import annotations

VERSION = "1.0.0"
