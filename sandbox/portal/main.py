"""`python -m sandbox portal`: portals and control API on one port, the authorization server on another."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sandbox.portal.event_queue import EventQueue
from sandbox.portal.oauth import AuthServer
from sandbox.portal.site import PortalSite
from sandbox.portal.tokens import TokenStore
from sandbox.portal.world import World
from sandbox.serving import Server, wait_for_stop

LOOPBACK = "127.0.0.1"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox portal", description=__doc__)
    parser.add_argument("--portal-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--auth-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--state-dir", type=Path, help="also write the ledger to portal-ledger.jsonl there")
    options = parser.parse_args(argv)

    world = World(options.state_dir)
    world.tokens = TokenStore(world)
    world.queue = EventQueue(world)
    site = PortalSite(world)
    portal_server = Server(site, LOOPBACK, options.portal_port)
    auth_server = Server(AuthServer(world), LOOPBACK, options.auth_port)
    world.place(f"localhost:{portal_server.port}", f"http://{LOOPBACK}:{auth_server.port}")
    world.add_portal()
    world.queue.start()
    portal_server.start()
    auth_server.start()

    # A second name for the same loopback makes the portal and the application two sites for a browser.
    ready = {"portal_url": f"http://{world.host}", "auth_url": world.auth_url}
    print(json.dumps(ready), flush=True)
    wait_for_stop()

    world.queue.stop()
    site.close()
    portal_server.stop()
    auth_server.stop()
    world.ledger.close()
    return 0
