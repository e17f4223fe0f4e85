"""Who types a command: the account on this machine, for the audit log."""

from __future__ import annotations

import os
import pwd
import socket

from app.domain.audit import Actor, Who


def the_operator() -> Actor:
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container runs under a number that no file names
        account = f"uid {os.getuid()}"
    return Actor(Who.OPERATOR, f"{account}@{socket.gethostname()}")
