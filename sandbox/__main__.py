"""`python -m sandbox portal|gateway|kannel|stack [options]`: starts one of the doubles, or all of it."""

from __future__ import annotations

import importlib
import sys

_COMMANDS = {
    "portal": "sandbox.portal.main",
    "gateway": "sandbox.gateway.main",
    "kannel": "sandbox.kannel",
    "stack": "sandbox.stack",
}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in _COMMANDS:
        print(f"usage: python -m sandbox {'|'.join(_COMMANDS)} [options]", file=sys.stderr)
        return 2
    # Imported by name only when asked for, so that one double never pays for the other.
    module = importlib.import_module(_COMMANDS[argv[0]])
    return int(module.main(argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
