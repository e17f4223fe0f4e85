"""Wiring, no logic: the only place that sees every room.

`app.create_app` builds an application of it. The package itself imports nothing, so that a room can be
imported without all the others: `import app.domain.status` loads neither Flask nor SQLAlchemy.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import partial

import click
from flask import Flask

from app import cli, error_reports, logs
from app.bitrix.oauth import OAuth
from app.bitrix.opener import OpenerCheck
from app.config import Config, ConfigError, load_config
from app.engine import Engine
from app.gateways.registry import load_registry
from app.jobs import alerts, bulk, retention, weekly
from app.jobs.accounts import check, probe
from app.jobs.messages import faults, follow_up, held, submit, tell, unknown
from app.jobs.portals import events as portal_events
from app.jobs.portals import standing, upkeep
from app.private_files import make_private
from app.services import Services, write_down_for
from app.store.database import db, engine_options, migrate, prepare_engine
from app.store.database.secrets import SecretBox
from app.transport import Allowed, HttpClient, Reach
from app.web import answer_headers, outward
from app.web.admin import (
    audit,
    entry,
    gateway,
    gateway_tools,
    help,
    messages,
    overview,
    senders,
    settings,
    statistics,
    try_out,
)
from app.web.admin import bulk as bulk_pages
from app.web.admin.frame import document, renew, static
from app.web.admin.parts import log_csv
from app.web.admin.words import language
from app.web.calls import bodies, events, handler, reports, spooling
from app.web.operator import health, legal

log = logging.getLogger(__name__)

JOBS: dict[str, Callable[[Services, int], None]] = {
    "submit": submit.submit_messages,
    "recover": unknown.recover_message,
    "follow_up": follow_up.follow_up,
    "match_reports": follow_up.match_reports,
    "push": tell.push_statuses,
    "verify_held": held.verify_held,
    "portal_event": portal_events.act_on_event,
    "reconcile": upkeep.keep_in_step,
    "keep_alive": upkeep.keep_tokens_alive,
    "probe_account": probe.probe_account,
    "purge": retention.purge_from,
    "purge_portal": retention.purge_portal,
    "check_account": check.check_account,
    "close_account": check.close_account,
    "look_for_incidents": alerts.look_for_incidents,
    "tell_incident": alerts.tell,
    "tell_week": weekly.tell_week,
    "bulk": partial(bulk.work_off, write=log_csv.piece),
}
OWNER_JOBS = ("submit", "push")  # named by a portal; they work off everything of it
BLUEPRINTS = (
    handler.blueprint,
    reports.blueprint,
    events.blueprint,
    health.blueprint,
    legal.blueprint,
    entry.blueprint,
    static.blueprint,
    renew.blueprint,
    overview.blueprint,
    gateway.blueprint,
    gateway_tools.blueprint,
    senders.blueprint,
    try_out.blueprint,
    messages.blueprint,
    bulk_pages.blueprint,
    settings.blueprint,
    audit.blueprint,
    statistics.blueprint,
    help.blueprint,
)


def build(config: Config | None) -> Flask:
    """The application of one process: web, worker or command alike."""
    if config is None:
        try:
            config = load_config(os.environ)
        except ConfigError as error:
            sys.exit(f"configuration: {error}")
    logs.set_up(config.log_level, secrets=config.secrets)
    error_reports.set_up(config.sentry_dsn)
    app = Flask("app", static_folder=None)
    app.url_map.strict_slashes = False
    app.config["SQLALCHEMY_DATABASE_URI"] = config.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(config)
    if config.sqlite_file is not None:
        try:
            make_private(config.sqlite_file)
        except OSError as error:
            why = error.strerror or type(error).__name__
            sys.exit(f"configuration: DATABASE_URL: the file {config.sqlite_file} cannot be written: {why}")
    db.init_app(app)
    migrate.init_app(app)
    with app.app_context():
        prepare_engine(db.engine)
    app.extensions["secret_box"] = SecretBox(config.encryption_keys)
    app.extensions["services"] = wired = _wire(config)
    wired.engine.init_app(app, config)
    for name, job in JOBS.items():
        wired.engine.register(name, partial(job, wired), drains=name in OWNER_JOBS)
    wired.engine.on_failure = partial(faults.note_exception, wired)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    spooling.init_app(app, handler.take_spooled)
    bodies.init_app(app)
    answer_headers.init_app(app)
    outward.init_app(app)
    language.init_app(app)
    document.init_app(app)
    cli.register(app)
    if click.get_current_context(silent=True) is None:  # a server; of the commands only `worker` says it
        for warning in wired.warnings:
            log.warning(warning)
    return app


def _wire(config: Config) -> Services:
    http, vendors = (
        HttpClient(
            reach=reach_of(config, kind),
            timeout_s=config.timing.gateway_deadline_s,
            before_call=outward.need_turn,
        )
        for kind in ("portal", "gateway")
    )
    oauth = OAuth(
        http,
        client_id=config.client_id,
        client_secret=config.client_secret,
        servers=config.oauth_servers,
        timeout_s=config.timing.portal_call_s,
    )
    return Services(
        config=config,
        http=http,
        vendors=vendors,
        oauth=oauth,
        openers=OpenerCheck(http, oauth, timeout_s=config.timing.portal_call_s, journal=write_down_for),
        engine=Engine(),
        gateways=load_registry(
            config.gateways_allow, presets=config.presets_dir, with_trial=config.demo_gateway != "off"
        ),
        on_portal_error=standing.conclude,
    )


def reach_of(config: Config, kind: str) -> Reach:
    """Whom the client for `portal` or `gateway` may call."""
    return Reach(
        everywhere=config.allow_private_network,
        allowed=tuple(
            Allowed.of(item.place, item.port) for item in config.private_hosts if item.kind == kind
        ),
        own=config.own_services,
    )


# Modules and classes stay as long as the process does. The garbage collector passes over them from now on, in
# its rounds as well as at the end: a command takes a quarter less time.
gc.freeze()
