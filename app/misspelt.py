"""Variables that were meant for us and are not read: a slip in a name would leave its default in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

# Read by gunicorn.conf.py and by the platform's own tools, not by `Config`.
_READ_ELSEWHERE = ("PORT", "WEB_CONCURRENCY", "WEB_THREADS", "PROMETHEUS_MULTIPROC_DIR", "FLASK_APP")
_ALIKE = 0.86


class Watched(Mapping[str, str]):
    """An environment that knows which of its names were asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._asked: set[str] = set(_READ_ELSEWHERE)

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def slips(self) -> tuple[tuple[str, str], ...]:
        """Names that are set and were not asked for, each with the one that was likely meant."""
        found = []
        for name in sorted(set(self._environ) - self._asked):
            meant = get_close_matches(name.upper(), self._asked, n=1, cutoff=_ALIKE)
            if meant and meant[0] not in self._environ:
                found.append((name, meant[0]))
        return tuple(found)
