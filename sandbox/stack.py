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
import atexit
import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

PROJECT = Path(__file__).resolve().parent.parent

# What the processes get of our environment. The rest stays out: a proxy, a DATABASE_URL or a SENTRY_DSN of
# the caller's shell must not decide what the stack does.
_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")
_LOG_TAIL = 25
_COLLISION = ("address already in use", "connection in use")


class ProcessFailed(Exception):
    """A process did not start or ended early. The text has the end of its log and what to do."""


class PortTaken(ProcessFailed):
    """Somebody else listens on the port that it was told to take."""


# --- Ends what we started, also when we are killed


def _process_table() -> dict[int, tuple[int, int]]:
    """Parent and session of every process that is more than a zombie, by pid."""
    table = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text(errors="replace")
        except OSError:
            continue  # ended meanwhile
        state, parent, _group, session = stat.rpartition(")")[2].split()[:4]
        if state not in "ZX":
            table[int(folder.name)] = (int(parent), int(session))
    return table


def process_tree(root: int) -> list[int]:
    """The process, whatever runs in its session, and the children of all these."""
    table = _process_table()
    found = [pid for pid, (_, session) in table.items() if root in (pid, session)]
    for pid in found:  # grows while it is walked
        found.extend(child for child, (parent, _) in table.items() if parent == pid and child not in found)
    return found


def signal_tree(root: int, number: int) -> bool:
    """Send a signal to the whole tree. False when there was nobody to get it."""
    pids = process_tree(root)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return bool(pids)


def kill_tree(root: int, timeout_s: float = 10.0) -> None:
    """Kill until nobody is left: a child may have been born while we looked."""
    deadline = time.monotonic() + timeout_s
    while signal_tree(root, signal.SIGKILL) and time.monotonic() < deadline:
        time.sleep(0.005)


class _Guard:
    """A process that outlives ours for a moment and clears up after it.

    It reads from a pipe what we have running. When the pipe closes, because we ended in whatever way, it
    kills the processes and removes the folders that are still on its list. (A parent-death signal would not
    do: it is tied to the thread that started the child, and grandchildren do not get it.)
    """

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--guard"],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not meant for it
            cwd="/",
        )
        os.close(reading)
        atexit.register(self._close)
        os.register_at_fork(after_in_child=self._forget)

    def add(self, kind: str, value: int | Path) -> None:
        self._write({"add": [kind, str(value)]})

    def remove(self, kind: str, value: int | Path) -> None:
        self._write({"remove": [kind, str(value)]})

    def _write(self, line: dict[str, list[str]]) -> None:
        os.write(self._writing, json.dumps(line).encode() + b"\n")  # one short write is never torn

    def _close(self) -> None:
        os.close(self._writing)
        self._process.wait()

    def _forget(self) -> None:
        # A forked copy of ours must neither hold the pipe open nor wait for the guard.
        global _the_guard
        atexit.unregister(self._close)
        os.close(self._writing)
        self._process.returncode = 0
        _the_guard = None


_the_guard: _Guard | None = None
_guard_lock = threading.Lock()


def guard() -> _Guard:
    """The one guard of this process."""
    global _the_guard
    with _guard_lock:
        _the_guard = _the_guard or _Guard()
        return _the_guard


def _run_guard(lines: Iterable[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    guarded: set[tuple[str, str]] = set()
    for line in lines:
        order = json.loads(line)
        if "add" in order:
            guarded.add(tuple(order["add"]))
        else:
            guarded.discard(tuple(order["remove"]))
    for kind, value in guarded:
        if kind == "process":
            kill_tree(int(value))
    for kind, value in guarded:
        if kind == "folder":
            shutil.rmtree(value, ignore_errors=True)


# --- One process


class Process:
    """One process of ours with its children, and its log file.

    `is_ready` looks whether it does its work; without one, running is ready enough.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path = PROJECT,
        is_ready: Callable[[Process], bool] | None = None,
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.env = dict(env)
        self.cwd = cwd
        self._is_ready = is_ready
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise ProcessFailed(f"{self.name} was never started")
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the signal that ended it. None while it runs."""
        if self._popen is None:
            return None
        if self._popen.returncode is not None:
            return int(self._popen.returncode)
        # Only looked at, not collected: until `kill`, nobody else can get its pid.
        ended = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self.returncode is None

    def children(self) -> list[int]:
        """The pids below it, such as gunicorn's workers."""
        return [pid for pid in process_tree(self.pid) if pid != self.pid]

    def output(self) -> str:
        """What it wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def start(self) -> None:
        """Start it without waiting until it is ready."""
        if self.is_running:
            raise ProcessFailed(f"{self.name} is running already, with pid {self.pid}")
        self.kill()  # when it ended by itself, children may be left
        self.log.touch()
        self._log_start = self.log.stat().st_size
        with self.log.open("ab") as log:
            # The shell waits for our word, so that nothing runs before the guard knows of it.
            self._popen = subprocess.Popen(
                ["/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh", *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.env,
                start_new_session=True,
            )
        guard().add("process", self._popen.pid)
        assert self._popen.stdin is not None
        with self._popen.stdin as word:
            word.write(b"go\n")

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until it does its work.

        Raises:
            ProcessFailed: it ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            code = self.returncode
            if code is not None:
                raise self.failure(f"ended with code {code} while starting")
            if self._is_ready is None or self._is_ready(self):
                return
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout_s:g} s")
            time.sleep(0.02)

    def terminate(self, timeout_s: float = 10.0, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and kill it when it does not listen."""
        if self.is_running:
            os.kill(self.pid, number)
            self.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for it and all its children, as when the machine dies."""
        if self._popen is None or self._popen.returncode is not None:
            return
        kill_tree(self._popen.pid)
        self._popen.wait()
        guard().remove("process", self._popen.pid)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; returns its exit code, or None when it still runs after that time."""
        deadline = time.monotonic() + timeout_s
        while self.is_running and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.returncode

    def pause(self) -> None:
        """Stop it in its tracks, with its children; connections stay open and nobody answers."""
        signal_tree(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        signal_tree(self.pid, signal.SIGCONT)

    def restart(self, timeout_s: float = 30.0) -> None:
        """End it politely and start it again, at the same address."""
        self.terminate()
        self.start()
        self.wait_ready(timeout_s)

    def failure(self, what: str) -> ProcessFailed:
        """An exception that shows the end of the log and says what to do."""
        text = self.output()
        error = PortTaken if _port_is_taken(text) else ProcessFailed
        return error(f"{self.name} {what}. The end of {self.log}:\n{_tail(text)}\n{_advice(text)}")


def _port_is_taken(log: str) -> bool:
    return any(words in log.lower() for words in _COLLISION)


def _tail(log: str) -> str:
    return "\n".join(f"    {line}" for line in log.splitlines()[-_LOG_TAIL:]) or "    (nothing)"


def _advice(log: str) -> str:
    if "No module named" in log:
        return "A package is missing: run scripts/setup, then try again."
    if _port_is_taken(log):
        return "Something else has its port: end that, or try again for another port."
    if "not found" in log or "No such file" in log:
        return "A program or file is missing: scripts/prerequisites installs the programs."
    return "Mend what the log names, then try again; KEEP=1 keeps the files of a run that failed."


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody had a moment ago.

    Below the range from which the kernel serves outgoing connections, so that none of these takes it while
    its owner is restarted. Somebody else may still be faster: retry when the owner says that it is taken.
    """
    while True:
        port = 15_000 + secrets.randbelow(17_000)  # tests seed `random`, so two runs would draw the same
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def on_free_port(start: Callable[[int], None]) -> int:
    """Call `start` with a free port, with another one when it raises `PortTaken`; returns the port."""
    for _ in range(4):
        port = free_port()
        with contextlib.suppress(PortTaken):
            start(port)
            return port
    port = free_port()
    start(port)
    return port


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


def _announcement(process: Process) -> dict[str, Any] | None:
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

    `database_url` None is a SQLite file in the stack's own folder. `env` adds to the product's environment or
    overrides it. `base_dir` None is a temporary folder, removed at the end; a given one stays, and a stack
    started there again has the same keys. `project` is where `app/`, `sandbox/` and `gunicorn.conf.py` lie.
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
                f"flask {' '.join(args)} ended with code {done.returncode}:\n{_tail(said)}\n{_advice(said)}"
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
            env=self._base_env,
            cwd=self.project,
            is_ready=lambda process: _announcement(process) is not None,
        )
        self._started.append(double)
        return double

    @staticmethod
    def _wait_announced(double: Process) -> dict[str, Any]:
        double.wait_ready()
        said = _announcement(double)
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
        web = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
        self.web = self._product_process("web", [*web, "app:create_app()"], is_ready=self._is_web_ready)
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

    def _is_web_ready(self, web: Process) -> bool:
        said = web.output()
        if _port_is_taken(said):
            raise web.failure(f"cannot have {self.web_url}")
        # Asked before it listens itself, /healthz could be somebody else's.
        return "Listening at" in said and all(
            _answers_200(self.web_url + path) for path in ("/healthz", "/readyz")
        )

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
            }
            keys_file.touch(mode=0o600)
            keys_file.write_text(json.dumps(keys))
        self.env = self._base_env | json.loads(keys_file.read_text())
        self.env |= {
            "DATABASE_URL": self._database_url or f"sqlite:///{self.dir / 'product.db'}",
            "REDIS_URL": self._redis_url or "",
            "B24_OAUTH_SERVERS": self.auth_url,
            "ALLOW_PRIVATE_NETWORK": "1",
            "APP_NAME": "SMS Provider",
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
    if sys.argv[1:] == ["--guard"]:
        _run_guard(sys.stdin)
    else:
        sys.exit(main(sys.argv[1:]))
