"""Counts what it is told, as Kannel tells a message's end. `/count` says how often; any other path counts."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.serving import serve

_told = itertools.count()
_seen = [0]


def sink(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/count":
        _seen[0] = next(_told) + 1
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"count": _seen[0]}).encode()]


if __name__ == "__main__":
    serve(sink, port=int(sys.argv[1]), on_ready=lambda port: print(json.dumps({"port": port}), flush=True))
