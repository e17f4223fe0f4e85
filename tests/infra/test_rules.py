"""The rules of a run that tests/conftest.py sets, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.processes import PROJECT

pytestmark = pytest.mark.slow

_ON_TWO = ("-n", "2", "--dist", "worksteal")


def _run(folder: Path, tests: str, *options: str, **env: str) -> tuple[int, str]:
    file = folder / "test_it.py"
    file.write_text(tests)
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FAIL_ON"))}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", str(PROJECT / "pyproject.toml"), f"--rootdir={folder}", str(file), *options),
        ],
        cwd=folder,
        env=outer | {"PYTHONPATH": str(PROJECT), "COLUMNS": "200"} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


_SKIPS = """
import pytest
def test_good(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_skipped(n): pytest.skip("no moon tonight")
@pytest.mark.skip(reason="not today")
def test_marked(): pass
"""


@pytest.mark.parametrize(
    ("options", "fatal"), [((), False), ((), True), (_ON_TWO, True)], ids=["told", "fatal", "fatal on two"]
)
def test_skipped_tests_are_counted_by_reason(tmp_path: Path, options: tuple[str, ...], fatal: bool) -> None:
    code, output = _run(tmp_path, _SKIPS, *options, **({"FAIL_ON_SKIP": "1"} if fatal else {}))
    assert code == (1 if fatal else 0)
    assert "skipped tests: 3" in output
    assert ("makes that a failure" in output) == fatal
    assert "2 x no moon tonight\n1 x not today\n" in output
    assert "1 passed, 3 skipped" in output.splitlines()[-1]


def test_a_module_that_skips_itself_counts_too(tmp_path: Path) -> None:
    tests = "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass\n"
    code, output = _run(tmp_path, "def test_good(): pass\n", FAIL_ON_SKIP="1")
    assert (code, "skipped tests: 0" in output) == (0, True)
    code, output = _run(tmp_path, tests, FAIL_ON_SKIP="1")
    assert code != 0
    assert "skipped tests: 1" in output


def test_only_loopback_can_be_reached_and_warnings_are_errors(tmp_path: Path) -> None:
    tests = """
import asyncio, socket, warnings
import pytest
from pytest_socket import SocketConnectBlockedError

def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()

def test_asyncio():
    asyncio.run(asyncio.sleep(0))

@pytest.mark.parametrize("host", ["192.0.2.1", "10.0.0.1", "2001:db8::1"])
def test_outside(host):
    with pytest.raises(SocketConnectBlockedError):
        socket.create_connection((host, 80), timeout=1)

def test_names():
    with pytest.raises(socket.gaierror, match="no names are looked up in tests"):
        socket.create_connection(("example.com", 80), timeout=1)

def test_warning():
    with pytest.raises(UserWarning):
        warnings.warn("careful", stacklevel=1)
"""
    code, output = _run(tmp_path, tests)
    assert code == 0, output


def test_who_measures_is_alone(tmp_path: Path) -> None:
    """Sixteen tests on two processes; those marked write down whether somebody else is there."""
    tests = f"""
import time
from pathlib import Path
import pytest
here = Path({str(tmp_path)!r})

@pytest.mark.parametrize("n", range(12))
def test_other(n):
    mark = here / f"inside-{{n}}"
    mark.touch()
    time.sleep(0.05)
    mark.unlink()

@pytest.mark.alone
@pytest.mark.parametrize("n", range(4))
def test_alone(n):
    for _ in range(5):
        assert not list(here.glob("inside-*"))
        time.sleep(0.02)
    (here / f"measured-{{n}}").touch()
"""
    code, output = _run(tmp_path, tests, *_ON_TWO)
    assert code == 0, output
    assert len(list(tmp_path.glob("measured-*"))) == 4


def test_a_browser_leaves_asyncio_to_others(tmp_path: Path) -> None:
    tests = """
import asyncio

def test_page(page):
    page.set_content("<p>Hello</p>")
    assert page.get_by_text("Hello").is_visible()

def test_asyncio_between():
    asyncio.run(asyncio.sleep(0))

def test_another_page(page):
    page.set_content("<p>Hello again</p>")
    page.get_by_text("again").wait_for()

def test_browser_is_kept_off_the_network(page):
    try:
        page.goto("http://example.com/")
    except Exception as error:
        assert "ERR_NAME_NOT_RESOLVED" in str(error)
    else:
        raise AssertionError

def test_asyncio_after():
    asyncio.run(asyncio.sleep(0))
"""
    code, output = _run(tmp_path, tests)
    if "Chromium is not installed" in output:
        pytest.skip("Chromium is not installed; scripts/prerequisites does it")
    assert code == 0, output
    assert "5 passed" in output


_LOGS = """
import logging, sys
def test_bad():
    print('{"level": "warning", "event": "once"}', file=sys.stderr)
    logging.warning("once")
    assert False
def test_bad_without_the_product():
    logging.warning("alone")
    assert False
"""


def test_a_log_line_of_the_product_is_said_once(tmp_path: Path) -> None:
    _, output = _run(tmp_path, _LOGS)

    assert output.count('"event": "once"') == 2  # the source of the test, and the line
    assert "WARNING  root:test_it.py:5 once" not in output
    assert "alone" in output.partition("Captured log call")[2]
