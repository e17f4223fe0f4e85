"""The whole thing as real processes: sandbox portal, sandbox gateway, the product's web and its workers.

    with Stack() as stack:
        print(stack.portal_url, stack.gateway_url, stack.public_url)
        stack.worker.kill()

The demo, the walk, browser and chaos tests and the benchmarks all start it here; `python -m sandbox stack`
starts one by hand. It needs nothing but Python's own library, and knows the product by its commands and its
environment only.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from sandbox.processes import (
    PROJECT,
    PortTaken,
    Process,
    ProcessFailed,
    advice,
    free_port,
    guard,
    on_free_port,
    port_is_taken,
    tail,
)

# What the processes get of our environment. The rest stays out: a proxy, a DATABASE_URL or a SENTRY_DSN of
# the caller's shell must not decide what the stack does.
_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")

# --- HTTP, as much as we need

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _answers_200(url: str) -> bool:
    try:
        with _opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:  # refused or timed out
        return False


def post_json(url: str, data: Any) -> Any:
    """POST JSON to a process of ours; returns the decoded answer."""
    request = urllib.request.Request(
        url, json.dumps(data).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with _opener.open(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


# --- All of them together


def announcement(process: Process) -> dict[str, Any] | None:
    """The line of JSON with which a double says that it is ready, and where."""
    for line in process.output().splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            with contextlib.suppress(ValueError):
                return dict(json.loads(line))
    return None


def _has_threads(worker: Process) -> bool:
    """A worker that has read its configuration and found its engine starts threads for its work."""
    try:
        return len(list(Path(f"/proc/{worker.pid}/task").iterdir())) > 1
    except FileNotFoundError:
        return False


class Stack:
    """Sandbox portal and gateway, and the product installed between them, ready for a message.

    `database_url` None is a SQLite file in the stack's own folder. `env` adds to the product's environment
    or overrides it, `doubles_env` to that of portal and gateway. `base_dir` None is a temporary folder,
    removed at the end; a given one stays, and a stack started there again has the same keys. `project` is
    where `app/`, `sandbox/` and `gunicorn.conf.py` lie.
    """

    portal: Process
    gateway: Process
    web: Process
    workers: list[Process]
    portal_url: str
    auth_url: str
    gateway_url: str
    web_url: str

    def __init__(
        self,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        web_workers: int = 1,
        web_threads: int = 8,
        worker_processes: int = 1,
        env: Mapping[str, str] | None = None,
        doubles_env: Mapping[str, str] | None = None,
        base_dir: Path | None = None,
        project: Path = PROJECT,
    ) -> None:
        self.project = project
        self._is_temporary = base_dir is None
        self._dir = base_dir
        self._database_url = database_url
        self._redis_url = redis_url
        self._web_workers = web_workers
        self._web_threads = web_threads
        self._worker_processes = worker_processes
        self._extra_env = dict(env or {})
        self._doubles_env = dict(doubles_env or {})
        self._base_env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._base_env |= {"PYTHONUNBUFFERED": "1", "NO_PROXY": "*"}
        self.env: dict[str, str] = {}
        """The product's environment."""
        self.workers = []
        self._started: list[Process] = []

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)

    @property
    def dir(self) -> Path:
        """Logs, databases and the doubles' ledgers are here."""
        assert self._dir is not None, "not started"
        return self._dir

    @property
    def public_url(self) -> str:
        """Where the product believes to be; `web_url`, unless `env` put something in between."""
        return self.env["PUBLIC_URL"]

    @property
    def worker(self) -> Process:
        """The first worker."""
        return self.workers[0]

    @property
    def processes(self) -> list[Process]:
        """All of them, in the order of their start."""
        return list(self._started)

    def start(self) -> None:
        """Start everything and introduce the product to the portal. What was started is ended on failure."""
        if self._dir is None:
            self._dir = Path(tempfile.mkdtemp(prefix="sms-stack-"))
            if not os.environ.get("KEEP"):
                guard().add("folder", self._dir)
        try:
            on_free_port(self._start_doubles)
            self._start_product()
            self.register()
        except BaseException:
            self.close(failed=True)
            raise

    def close(self, *, failed: bool = False) -> None:
        """End all processes; remove the folder if it is temporary, unless KEEP=1 and something failed."""
        for process in reversed(self._started):
            # Nobody will look at a temporary folder again, so nobody needs a tidy end.
            if self._is_temporary:
                process.kill()
            else:
                process.terminate(timeout_s=5)
        self._started.clear()
        self.workers.clear()
        if self._is_temporary and self._dir is not None:
            if failed and os.environ.get("KEEP"):
                print(f"kept: {self._dir}", file=sys.stderr)
            else:
                shutil.rmtree(self._dir, ignore_errors=True)
            guard().remove("folder", self._dir)
            self._dir = None

    def watch(self) -> NoReturn:
        """Wait until one of the processes ends, which is the failure that this raises."""
        while True:
            for process in self._started:
                if not process.is_running:
                    raise process.failure(f"ended with code {process.returncode}")
            time.sleep(0.2)

    def start_worker(self) -> Process:
        """One more worker process; returns it without waiting until it is ready."""
        name = f"worker-{len(self.workers) + 1}"
        command = [sys.executable, "-m", "flask", "--app", "app", "worker"]
        worker = self._product_process(name, command, is_ready=_has_threads)
        self.workers.append(worker)
        worker.start()
        return worker

    def start_web(self) -> tuple[Process, int]:
        """One more web process, at a port of its own; returns both when it is ready."""

        def start_on_port(port: int) -> None:
            started.append(self._web_process(f"web-{len(self._started)}", port))
            with self._ended_when_port_is_taken(started[-1]):
                started[-1].start()
                started[-1].wait_ready()

        started: list[Process] = []
        port = on_free_port(start_on_port)
        return started[-1], port

    def start_product(self, command: str) -> Process:
        """One more process of the product, `flask --app app <command>`; returns it without waiting."""
        name = f"{command}-{len(self._started)}"
        process = self._product_process(name, [sys.executable, "-m", "flask", "--app", "app", command])
        process.start()
        return process

    def register(self) -> None:
        """Tell the portal which application it can install, and where that lives."""
        post_json(
            f"{self.portal_url}/sandbox/app",
            {
                "client_id": self.env["B24_CLIENT_ID"],
                "client_secret": self.env["B24_CLIENT_SECRET"],
                "app_url": self.public_url,
            },
        )

    def flask(self, *args: str) -> Any:
        """Run a command of the product with `--json`; returns what it printed.

        Raises:
            ProcessFailed: it ended with another code than 0; the text has what it wrote.
        """
        output = self.run_flask(*args, "--json")
        try:
            return json.loads(output)
        except ValueError:
            raise ProcessFailed(f"flask {' '.join(args)} --json printed no JSON:\n{output}") from None

    def run_flask(self, *args: str, timeout_s: float = 60.0) -> str:
        """Run a command of the product; returns its output as text. Errors are those of `flask`."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", *args],
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise ProcessFailed(
                f"flask {' '.join(args)} ended with code {done.returncode}:\n{tail(said)}\n{advice(said)}"
            )
        return done.stdout

    def _start_doubles(self, port: int) -> None:
        """Ports of our choice, so that a double comes back to the same address after a restart."""
        self.portal = self._double("portal", "--portal-port", str(port), "--auth-port", str(free_port()))
        self.gateway = self._double("gateway", "--port", str(free_port()))
        with self._ended_when_port_is_taken(self.portal, self.gateway):
            self.portal.start()
            self.gateway.start()
            portal = self._wait_announced(self.portal)
            self.portal_url, self.auth_url = portal["portal_url"], portal["auth_url"]
            self.gateway_url = self._wait_announced(self.gateway)["gateway_url"]

    def _double(self, name: str, *options: str) -> Process:
        state = self.dir / name
        state.mkdir(parents=True, exist_ok=True)
        double = Process(
            name,
            [sys.executable, "-m", "sandbox", name, *options, "--state-dir", str(state)],
            log=self.dir / f"{name}.log",
            env={**self._base_env, **self._doubles_env},
            cwd=self.project,
            is_ready=lambda process: announcement(process) is not None,
        )
        self._started.append(double)
        return double

    @staticmethod
    def _wait_announced(double: Process) -> dict[str, Any]:
        double.wait_ready()
        said = announcement(double)
        assert said is not None
        return said

    @contextlib.contextmanager
    def _ended_when_port_is_taken(self, *processes: Process) -> Iterator[None]:
        try:
            yield
        except PortTaken:
            for process in processes:
                process.kill()
                self._started.remove(process)
            raise

    def _start_product(self) -> None:
        self._write_environment()
        self._use_port(free_port())
        self.run_flask("db", "upgrade")
        on_free_port(self._start_on_port)

    def _start_on_port(self, port: int) -> None:
        """Web and workers start side by side; all of them know the address."""
        self._use_port(port)
        self.web = self._web_process("web", port)
        self.workers = []
        self.web.start()
        for _ in range(self._worker_processes):
            self.start_worker()
        with self._ended_when_port_is_taken(self.web, *self.workers):
            for process in (self.web, *self.workers):
                process.wait_ready()

    def _use_port(self, port: int) -> None:
        self.web_url = f"http://127.0.0.1:{port}"
        self.env["PUBLIC_URL"] = self._extra_env.get("PUBLIC_URL", self.web_url)

    def _web_process(self, name: str, port: int) -> Process:
        url = f"http://127.0.0.1:{port}"

        def is_ready(web: Process) -> bool:
            said = web.output()
            if port_is_taken(said):
                raise web.failure(f"cannot have {url}")
            # Asked before it listens itself, /healthz could be somebody else's.
            return "Listening at" in said and all(
                _answers_200(url + path) for path in ("/healthz", "/readyz")
            )

        bind = ("--bind", f"127.0.0.1:{port}")
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *bind, "app:create_app()"]
        return self._product_process(name, command, is_ready=is_ready)

    def _product_process(
        self, name: str, command: list[str], is_ready: Callable[[Process], bool] | None = None
    ) -> Process:
        log = self.dir / f"{name}.log"
        process = Process(name, command, log=log, env=self.env, cwd=self.project, is_ready=is_ready)
        self._started.append(process)
        return process

    def _write_environment(self) -> None:
        """The names are the product's promise to operators; the keys stay for the next start here."""
        keys_file = self.dir / "keys.json"
        if not keys_file.exists():
            keys = {
                "SECRET_KEY": secrets.token_urlsafe(48),
                "ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "B24_CLIENT_ID": f"local.{secrets.token_hex(12)}",
                "B24_CLIENT_SECRET": secrets.token_urlsafe(36),
                "METRICS_TOKEN": secrets.token_urlsafe(24),
            }
            keys_file.touch(mode=0o600)
            keys_file.write_text(json.dumps(keys))
        self.env = self._base_env | json.loads(keys_file.read_text())
        self.env |= {
            "DATABASE_URL": self._database_url or f"sqlite:///{self.dir / 'product.db'}",
            "REDIS_URL": self._redis_url or "",
            "SPOOL_DIR": str(self.dir / "spool"),
            "B24_OAUTH_SERVERS": self.auth_url,
            "ALLOW_PRIVATE_NETWORK": "1",
            "APP_NAME": "SMS Provider",
            "DEMO_GATEWAY": "full",  # whoever starts this has the sandbox's portal before them
            "WEB_CONCURRENCY": str(self._web_workers),
            "WEB_THREADS": str(self._web_threads),
        }
        self.env |= self._extra_env


def main(argv: list[str]) -> int:
    """Start a stack by hand, print its addresses as one line of JSON, end it on Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sandbox stack", description=main.__doc__)
    parser.add_argument("--database-url", help="default: a SQLite file in the folder of the stack")
    parser.add_argument("--redis-url", help="default: the embedded job engine")
    parser.add_argument("--web-workers", type=int, default=1, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes")
    parser.add_argument("--dir", type=Path, help="keep everything there; default: a temporary folder")
    options = parser.parse_args(argv)
    stack = Stack(
        database_url=options.database_url,
        redis_url=options.redis_url,
        web_workers=options.web_workers,
        worker_processes=options.workers,
        base_dir=options.dir.resolve() if options.dir else None,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with stack:
            names = ("portal_url", "auth_url", "gateway_url", "public_url", "dir")
            print(json.dumps({name: str(getattr(stack, name)) for name in names}), flush=True)
            stack.watch()
    except KeyboardInterrupt:
        return 0
    except ProcessFailed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
