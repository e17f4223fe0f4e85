"""The operator's commands: `flask --app app ...`. Data also as `--json`; failures say why on stderr."""

from flask import Flask

from app.cli.audit import audit_group
from app.cli.bulk import bulk_group
from app.cli.dead import dead_group
from app.cli.doctor import doctor
from app.cli.erase import erase_group
from app.cli.gateways import gateways_group
from app.cli.keys import keys_group
from app.cli.messages import messages_group
from app.cli.one_line import say_in_one_line
from app.cli.portals import portals_group
from app.cli.purge import purge
from app.cli.senders import senders_group
from app.cli.smpp import smpp
from app.cli.statistics import statistics_group
from app.cli.status import status
from app.cli.worker import worker
from app.cli.workers import workers_group

COMMANDS = (
    portals_group,
    gateways_group,
    senders_group,
    messages_group,
    bulk_group,
    keys_group,
    statistics_group,
    dead_group,
    workers_group,
    audit_group,
    purge,
    erase_group,
    doctor,
    status,
    worker,
    smpp,
)


def register(app: Flask) -> None:
    for command in COMMANDS:
        say_in_one_line(command)
        app.cli.add_command(command)
