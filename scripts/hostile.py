"""Makes ten thousand hostile calls over every route, and counts what came of them.

    .venv/bin/python scripts/hostile.py --calls 10000 --seed 1

Ends with 0 when none was answered 500, none told a canary, none changed a row of the portal that they were
meant for, and none made the product connect to where it must not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.web.hostile import besieged  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, besieged(Path(folder), options.seed) as siege:
        outcome = siege.run(options.calls)
    print("\n".join(outcome.lines()))
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
