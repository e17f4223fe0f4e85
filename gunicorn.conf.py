"""How gunicorn serves the product: `gunicorn -c gunicorn.conf.py "app:create_app()"`.

The address comes from `--bind` or from the variable PORT, which many platforms set.
"""

from __future__ import annotations

import logging
import os
import resource
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

# A reload reads this file again, and shall not go on with what the one before it has imported.
for _name in [name for name in sys.modules if name.split(".")[0] == "app"]:
    del sys.modules[_name]
sys.path.insert(0, str(Path(__file__).parent))
from app.serving.worker import CrowdWorker  # noqa: E402 - found by the line above

worker_class = CrowdWorker
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = int(os.environ.get("WEB_THREADS") or 8)  # that serve HANDLER and reports; the others are fixed
# Unfinished requests cost a file handle each, and many systems give a process 1,024 unless it asks for more.
worker_connections = 4_000
_files, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _files < 2 * worker_connections:
    _files = 2 * worker_connections if _most < 0 else min(2 * worker_connections, _most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _most))
preload_app = False  # each worker opens its own database connections after the fork

timeout = 30
graceful_timeout = 30
# Longer than the 60 s of common proxies: the proxy has to be the one that closes an idle connection.
# A handler call that meets our closing would be lost, for Bitrix24 calls once.
keepalive = 65
# A leak, ours or a library's, ends with its worker. The jitter keeps workers from leaving together.
max_requests = 20_000
max_requests_jitter = 2_000

limit_request_line = 8_190  # some gateways report by GET
limit_request_fields = 100
limit_request_field_size = 8_190

# A worker touches a file there all the time; on a slow disk that alone can make it look dead.
_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108
worker_tmp_dir = _memory
# Its default path is one per user, so that a second product under the same user would take it over.
control_socket_disable = True

# Off by default; `--access-logfile -` turns it on. Handler and report URLs carry a secret in their path,
# so the logger below cuts them.
accesslog = None
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s bytes %(M)s ms'

# The application's own rule, by its path: to import it from `app` would load the application into this
# process, and a reload would go on with the old one.
_hide = runpy.run_path(str(Path(__file__).with_name("app") / "redaction.py"))["hide"]


class _HideSecrets(logging.Filter):
    """gunicorn quotes what it could not read or serve, often with its address."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _hide(record.getMessage()), None
        if record.exc_info and record.exc_info[0]:
            record.exc_text = _hide(logging.Formatter().formatException(record.exc_info))
        return True


class SecretlessLogger(Logger):
    """Writes no more of a path than its first segment, whatever format the operator chose."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if not any(isinstance(known, _HideSecrets) for known in self.error_log.filters):
            self.error_log.addFilter(_HideSecrets())

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> dict[str, Any]:
        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        first = "/" + (environ.get("PATH_INFO") or "").lstrip("/").split("/", 1)[0]
        # Headers and variables are dropped as a whole: {raw_uri}e, {referer}i and others repeat the address.
        kept = {name: value for name, value in atoms.items() if not name.startswith("{")}
        return kept | {
            "U": first,
            "q": "",
            "f": "-",
            "r": f"{environ['REQUEST_METHOD']} {first} {environ['SERVER_PROTOCOL']}",
        }


logger_class = SecretlessLogger

# The workers count into files of their own, and /metrics adds them up. The folder dies with the server;
# a reload of this file finds it in the environment and goes on with it. In memory: they map these files, and
# a process that writes to a mapped file on a full disk is killed.
_counts = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="sms-metrics-", dir=_memory)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _counts


def child_exit(_server: Any, worker: Any) -> None:
    # The library decides at its import whether it counts into files, so not before the line above.
    from prometheus_client import multiprocess  # noqa: PLC0415

    multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    shutil.rmtree(_counts, ignore_errors=True)
