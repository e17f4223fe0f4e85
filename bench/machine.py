"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path


def description() -> str:
    """One paragraph: processor, memory, kernel, load, versions."""
    parts = [
        f"{os.cpu_count()} cores of {_processor()}",
        f"{_memory_gb():.0f} GB of memory",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        _version("postgres", "--version"),
        _version("redis-server", "--version"),
        f"load at the beginning {os.getloadavg()[0]:.1f}",
    ]
    return ", ".join(part for part in parts if part) + "."


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(program: str, option: str) -> str:
    found = shutil.which(program) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))), None
    )
    if found is None:
        return ""
    said = subprocess.run([found, option], capture_output=True, text=True, check=False).stdout
    words = [word for word in said.replace("v=", "").split() if word[:1].isdigit()]
    return f"{'PostgreSQL' if program == 'postgres' else 'Redis'} {words[0]}" if words else ""


if __name__ == "__main__":
    sys.exit(print(description()))
