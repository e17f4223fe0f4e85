"""HANDLER calls that the database did not take: kept by this process, and worked off by a thread of it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from flask import Flask, current_app

from app.services import services
from app.store.database import StoreUnavailable, database_is_down
from app.store.database.spool import Spool, SpooledCall

log = logging.getLogger(__name__)

EVERY_S = 1.0

Take = Callable[[SpooledCall], None]


def init_app(app: Flask, take: Take) -> None:
    """The first request of a process starts the thread: gunicorn forks after this."""

    @app.before_request
    def start() -> None:
        if services().config.spool_dir is None or app.extensions.get("spool_pid") == os.getpid():
            return
        app.extensions["spool_pid"] = os.getpid()
        threading.Thread(target=_keep_working_off, args=(app, take), name="spool", daemon=True).start()


def keep(call: SpooledCall) -> bool:
    """On the disk when this returns; False where the operator turned the spool off.

    Raises:
        StoreUnavailable: the disk does not take it either.
    """
    spool = _spool()
    if spool is None:
        return False
    spool.add(call)
    return True


def work_off(take: Take) -> int:
    """Take what was spooled, if the database answers; returns how many calls."""
    spool = _spool()
    if spool is None or database_is_down():
        return 0
    try:
        return spool.work_off(take)
    except StoreUnavailable:
        return 0
    except OSError as error:
        log.error("spool not readable", extra={"why": str(error)})
        return 0


def _spool() -> Spool | None:
    folder = services().config.spool_dir
    if folder is None:
        return None
    found: Spool = current_app.extensions.setdefault("spool", Spool(folder))
    return found


def _keep_working_off(app: Flask, take: Take) -> None:
    while True:
        with app.app_context():
            try:
                work_off(take)
            except Exception:  # this thread has to outlive everything
                log.exception("the spool is not worked off; it is tried again")
        time.sleep(EVERY_S)
