"""`python -m sandbox gateway`: the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sandbox.gateway.app import GatewayApp
from sandbox.gateway.ledger import Ledger
from sandbox.serving import serve


def main(argv: list[str]) -> int:
    """Serve until a signal comes; prints one line of JSON with the address when ready."""
    parser = argparse.ArgumentParser(prog="python -m sandbox gateway", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--state-dir", type=Path, help="keep gateway-ledger.jsonl there, and start from it")
    parser.add_argument("--fsync", action="store_true", help="write each entry of the ledger to the disk")
    parser.add_argument("--threads", type=int, default=512, help="connections served at once")
    parser.add_argument("--report-threads", type=int, default=8, help="reports sent at once")
    options = parser.parse_args(argv)
    ledger = Ledger(options.state_dir, fsync=options.fsync)
    app = GatewayApp(ledger, report_threads=options.report_threads)

    def on_ready(port: int) -> None:
        print(json.dumps({"gateway_url": f"http://{options.host}:{port}"}), flush=True)

    try:
        serve(app, options.host, options.port, options.threads, on_ready)
    finally:
        app.close()
        ledger.close()
    return 0
