"""What all tests share: the databases, the stack, the browser, and the rules of a run.

Only loopback connections open (see pyproject.toml). A test that needs a program which is not installed is
skipped with the reason; with FAIL_ON_SKIP=1, as in CI, a run with skipped tests fails.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from sandbox.databases import Postgres, Redis, ServiceMissing
from sandbox.stack import Stack
from tests.ui import desk

if TYPE_CHECKING:  # most runs have no use for it, and it is slow to import
    from playwright.sync_api import Browser, BrowserContext, Page

# No example is timed: a busy machine is not a failure.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_SLOW_FIXTURES = {"stack", "browser", "page"}
_SLOW_WORLDS = {"fault_world", "portal_world", "PortalWorld"}  # a portal, and mostly a gateway, for each test

# --- Databases


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The cluster of this session. A test that harms it takes a `Postgres()` of its own instead."""
    try:
        service = Postgres()
    except ServiceMissing as missing:
        pytest.skip(str(missing))
    with service:
        yield service


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The Redis of this session. A test that harms it takes a `Redis()` of its own instead."""
    try:
        service = Redis()
    except ServiceMissing as missing:
        pytest.skip(str(missing))
    with service:
        yield service


_redis_numbers = count()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of an empty Redis database. Not the one of the test before, which may have a late writer."""
    number = next(_redis_numbers) % 16
    with redis_server.connect(number) as client:
        client.flushdb()
    return redis_server.url(number)


# --- The whole product

StackFactory = Callable[..., Stack]


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Iterator[StackFactory]:
    """`stack(**options)` starts a `Stack`; all of them end with the test."""
    with ExitStack() as ending:

        def start(**options: Any) -> Stack:
            made = Stack(**options)
            made.start()
            ending.callback(lambda: made.close(failed=request.node.stash.get(_FAILED, False)))
            return made

        yield start


# --- The browser


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Debian's Chromium. Its contexts give up when `desk` does, and end with the test."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed; scripts/prerequisites does it")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = desk.launch(playwright, chromium)
        browser.on("context", lambda context: context.set_default_timeout(desk.PATIENCE_MS))
        # Playwright leaves its loop marked as running in this thread; see pytest_runtest_setup.
        loop = request.config.stash[_LOOP] = asyncio.get_running_loop()
        yield browser
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own, at the size of a small laptop."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page."""
    return context.new_page()


# --- The rules of a run

_FAILED = pytest.StashKey[bool]()
_LOCKS = pytest.StashKey[str]()
_LOOP = pytest.StashKey[asyncio.AbstractEventLoop]()


@pytest.fixture(scope="session", autouse=True)
def _no_names() -> Iterator[None]:
    """A lookup in the domain name system would leave this machine, too. A test may put its own in the way."""
    ours = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", "localhost"):
            try:
                ipaddress.ip_address(name.partition("%")[0])
            except ValueError:
                message = f"no names are looked up in tests: {name}"
                raise socket.gaierror(socket.EAI_NONAME, message) from None
        return ours(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with processes, a browser or a portal are slow without saying so; the slow ones come first."""
    for item in items:
        has_world = any(hasattr(getattr(item, "module", None), world) for world in _SLOW_WORLDS)
        if has_world or _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    # The long ones first: else one process is left with some of them at the end, and the other idles.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Playwright finds its loop where it left it; others find none, or asyncio.run() would refuse."""
    uses_browser = "browser" in getattr(item, "fixturenames", ())
    asyncio._set_running_loop(item.config.stash.get(_LOOP, None) if uses_browser else None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        _say_each_log_line_once(report)
    return report


def _say_each_log_line_once(report: pytest.TestReport) -> None:
    """The product writes its log lines to stderr, as JSON; pytest's own copy of them would say all again."""
    if any('"level": ' in text for name, text in report.sections if "stderr" in name):
        report.sections = [section for section in report.sections if " log " not in section[0]]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test marked `alone` waits until the other processes of this run are between two tests."""
    worker_input = getattr(item.config, "workerinput", None)
    if worker_input is None:
        return (yield)
    locks = Path(worker_input["locks"])
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    # The door stays shut while somebody waits to be alone; flock() by itself would let others in first.
    with _locked(locks / "door", fcntl.LOCK_EX) as door, _locked(locks / "room", how):
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist is about to start a process of this run: tell it where the locks are."""
    config = node.config
    if _LOCKS not in config.stash:
        config.stash[_LOCKS] = tempfile.mkdtemp(prefix="sms-tests-")
        config.add_cleanup(lambda: shutil.rmtree(config.stash[_LOCKS], ignore_errors=True))
    node.workerinput["locks"] = config.stash[_LOCKS]


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, how)
        yield file
    finally:
        os.close(file)


def _is_main_process(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


def _skip_reasons(config: pytest.Config) -> Counter[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _is_main_process(session.config):
        return
    if os.environ.get("FAIL_ON_SKIP") == "1" and _skip_reasons(session.config):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reasons = _skip_reasons(config)
    fatal = ", and FAIL_ON_SKIP=1 makes that a failure" if os.environ.get("FAIL_ON_SKIP") == "1" else ""
    terminalreporter.section(f"skipped tests: {reasons.total()}{fatal if reasons else ''}")
    for reason, number in reasons.most_common():
        terminalreporter.line(f"{number} x {reason}")
