"""What processes used: processor time and memory, from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sandbox.processes import process_tree

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(root: int) -> float:
    """Processor time of a process and all below it, those that have ended included."""
    total = 0.0
    for pid in process_tree(root):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            continue  # ended meanwhile, and counted by its parent
        fields = stat.rpartition(")")[2].split()
        total += (
            sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_S
        )  # own and waited-for, user and system
    return total


def memory_mb(root: int) -> float:
    """Memory of a process and all below it; what they share is counted once (PSS)."""
    total_kb = 0
    for pid in process_tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024


class Meter:
    """Processor time of several processes since it was made, by the names of their parts."""

    def __init__(self, parts: Mapping[str, int]) -> None:
        self._parts = parts
        self._before = {name: cpu_s(pid) for name, pid in parts.items()}

    def used_s(self) -> dict[str, float]:
        return {name: cpu_s(pid) - self._before[name] for name, pid in self._parts.items()}
