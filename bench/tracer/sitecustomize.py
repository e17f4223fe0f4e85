"""Python runs this at its start, where bench.trace put the folder on the path: watches what the product does.

Counts every function of `app/` that is entered, every step from one of its files into another, and every
statement. A signal (SIGRTMIN) writes what was seen since the last one to `TRACE_DIR` and begins anew.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

_APP = os.environ["TRACE_APP"] + "/"
_functions: Counter[str] = Counter()
_statements: Counter[str] = Counter()
_hops: Counter[str] = Counter()
_last = threading.local()


def _profile(frame: FrameType, kind: str, _: Any) -> None:
    if kind != "call":
        return
    code = frame.f_code
    if not code.co_filename.startswith(_APP) or code.co_name.startswith("<"):  # comprehensions, lambdas
        return
    file = code.co_filename.removeprefix(_APP)
    _functions[f"{file} {code.co_qualname}"] += 1
    if getattr(_last, "file", file) != file:
        _hops[f"{_last.file} -> {file}"] += 1
    _last.file = file


@event.listens_for(Engine, "before_cursor_execute")
def _note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    _statements[" ".join(statement.split())] += 1


@event.listens_for(Engine, "commit")
def _note_commit(_connection: Any) -> None:
    _statements["COMMIT"] += 1


def _dump(*_: Any) -> None:
    seen = {"functions": dict(_functions), "hops": dict(_hops), "statements": dict(_statements)}
    target = Path(os.environ["TRACE_DIR"]) / f"{os.getpid()}.json"
    partial = target.with_suffix(".part")
    partial.write_text(json.dumps(seen))
    partial.rename(target)  # never read half-written
    for counter in (_functions, _hops, _statements):
        counter.clear()


signal.signal(signal.SIGRTMIN, _dump)
sys.setprofile(_profile)
threading.setprofile(_profile)
