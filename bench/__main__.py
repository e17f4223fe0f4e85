"""Measures and prints; `--write` puts the tables into docs/benchmarks.md.

python -m bench                  all that belongs to the page: some ten minutes
python -m bench push memory      these; also those that the page does not need every time
python -m bench --short message  seconds, with figures that only prove that it works
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from bench import machine
from bench.sections import Section

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: written by `make bench` -->", "<!-- end of what was measured -->"

ON_THE_PAGE = ("message", "latency", "fairness", "push", "growth")
BY_NAME = ("crowd", "memory", "pages", "refresh", "reinstalls", "retention", "smpp", "sweep")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*ON_THE_PAGE, *BY_NAME))}")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - {*ON_THE_PAGE, *BY_NAME}:
        parser.error(f"there is no benchmark called {', '.join(sorted(unknown))}")
    computer = machine.description()
    sections = [_measure(name, short=options.short) for name in options.names or ON_THE_PAGE]
    if options.json:
        print(json.dumps({section.title: section.figures for section in sections}, indent=2))
    else:
        print("\n".join([computer, "", *(section.markdown() for section in sections)]))
    if options.write:
        _write(computer, sections)
    return 0 if all(section.is_as_promised for section in sections) else 1


def _measure(name: str, *, short: bool) -> Section:
    print(f"bench: {name}", file=sys.stderr, flush=True)
    began = time.monotonic()
    section: Section = importlib.import_module(f"bench.{name}").measure(short=short)
    print(f"bench: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return section


def _write(computer: str, sections: list[Section]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    measured = "\n".join(section.markdown() for section in sections)
    PAGE.write_text(f"{before}{BEGIN}\n\n{computer}\n\n{measured}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
