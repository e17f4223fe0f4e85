"""Chaos: sends messages while processes, PostgreSQL and Redis are killed, paused and wiped, then compares.

    .venv/bin/python scripts/chaos.py --seed 7 --messages 10000 --kills 60

Ends with 0 when nothing was lost, doubled, told falsely or told backwards, else with 1 and the list.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.chaos.harness import Chaos, Plan, fingerprint  # noqa: E402

SHOWN = 30


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--rate", type=float, default=40.0, help="messages a second")
    parser.add_argument("--embedded", action="store_true", help="SQLite and the embedded engine")
    parser.add_argument("--quiet", action="store_true", help="only the result")
    options = parser.parse_args()
    plan = Plan(
        seed=options.seed,
        messages=options.messages,
        kills=options.kills,
        rate=options.rate,
        scaled=not options.embedded,
        workers=1 if options.embedded else 3,
    )
    began = time.monotonic()
    print(f"story {fingerprint(plan)}: seed {plan.seed}, {plan.messages} messages, {plan.kills} kills")

    def say(text: str) -> None:
        if not options.quiet:
            print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    with Chaos(plan, say) as chaos:
        verdict = chaos.run()
    print("\n".join(verdict.lines()))
    for line in [*verdict.problems[:SHOWN], *verdict.closed_unknown[:SHOWN]]:
        print("  " + line)
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
