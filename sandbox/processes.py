"""Processes that are certain to end: started, watched, killed, paused and started again.

A guard process ends what is left when its owner is gone, however that happened. Nothing here knows what
the processes are.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

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
        error = PortTaken if port_is_taken(text) else ProcessFailed
        return error(f"{self.name} {what}. The end of {self.log}:\n{tail(text)}\n{advice(text)}")


def port_is_taken(log: str) -> bool:
    return any(words in log.lower() for words in _COLLISION)


def tail(log: str) -> str:
    return "\n".join(f"    {line}" for line in log.splitlines()[-_LOG_TAIL:]) or "    (nothing)"


def advice(log: str) -> str:
    if "No module named" in log:
        return "A package is missing: run scripts/setup, then try again."
    if port_is_taken(log):
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


if __name__ == "__main__" and sys.argv[1:] == ["--guard"]:
    _run_guard(sys.stdin)
