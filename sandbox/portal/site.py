"""What listens on the portals' port: REST straight away, control API and pages through Flask."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden, HTTPException

from sandbox.portal.campaigns import Campaigns
from sandbox.portal.control import control_blueprint
from sandbox.portal.control_faults import faults_blueprint
from sandbox.portal.control_sms import sms_blueprint
from sandbox.portal.frame import Frames
from sandbox.portal.pages import pages_blueprint
from sandbox.portal.rest import handle_rest, is_rest_path
from sandbox.portal.wire import Environ, StartResponse
from sandbox.portal.world import World
from sandbox.serving import ABORT_KEY, Server


class PortalSite:
    """The WSGI application of the portals' port. REST goes past Flask because it is called most."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.extra_servers: list[Server] = []  # ports that a renamed portal moved to
        self._flask = self._build()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not is_rest_path(environ["PATH_INFO"]):
            return self._flask(environ, start_response)
        answer = handle_rest(self._world, environ)
        if answer.aborted:
            environ[ABORT_KEY]()
            return []
        return answer.send(start_response)

    def open_port(self) -> str:
        """Listen on one more port; its `host:port`."""
        server = Server(self, self.extra_host, 0).start()
        self.extra_servers.append(server)
        return f"localhost:{server.port}"

    extra_host = "127.0.0.1"

    def close(self) -> None:
        for server in self.extra_servers:
            server.stop()

    def _build(self) -> Flask:
        app = Flask("sandbox.portal")
        frames = Frames(self._world)
        app.register_blueprint(control_blueprint(self._world, frames, self.open_port))
        app.register_blueprint(faults_blueprint(self._world))
        app.register_blueprint(sms_blueprint(self._world, Campaigns(self._world)))
        app.register_blueprint(pages_blueprint(self._world, frames))

        @app.before_request
        def only_from_here() -> None:
            # Control has no password, so no web page on another site may press its buttons either.
            if request.method != "GET" and request.headers.get("Sec-Fetch-Site") == "cross-site":
                raise Forbidden("The control API answers to its own page and to programs only.")

        @app.errorhandler(HTTPException)
        def as_json(error: HTTPException) -> ResponseReturnValue:
            return jsonify(error=error.name, detail=error.description), error.code or 500

        return app
