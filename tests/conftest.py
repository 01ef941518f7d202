"""The database servers of a test run, and a summary of them at its end."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import MariaDB, PostgreSQL, Server, Unavailable
from tests.servers.outcome import server_outcomes as _outcome

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs with SIGINT ignored, and every child inherits that: Ctrl-C could not end one.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_skip_reasons: dict[str, str] = {}


def _run_server(server_class: type[Server]) -> Iterator[Server | None]:
    try:
        server = server_class()
        server.start()
    except Unavailable as error:
        _skip_reasons[server_class.name] = str(error)
        _outcome[server_class.name] = f"{server_class.name}: skipped, because {error}"
        yield None
        return
    _outcome[server_class.name] = f"{server_class.name} {server.version}: tested"
    yield server
    server.stop()


def _require(server: Server | None, name: str) -> Server:
    if server is None:
        reason = f"{name} is not available: {_skip_reasons[name]}"
        if os.environ.get("MASTERJOB_REQUIRE_DATABASES") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return server


@pytest.fixture(scope="session")
def postgresql_or_none() -> Iterator[Server | None]:
    yield from _run_server(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb_or_none() -> Iterator[Server | None]:
    yield from _run_server(MariaDB)


@pytest.fixture
def postgresql(postgresql_or_none: Server | None) -> Server:
    return _require(postgresql_or_none, "PostgreSQL")


@pytest.fixture
def mariadb(mariadb_or_none: Server | None) -> Server:
    return _require(mariadb_or_none, "MariaDB")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the outcomes to the main process, if several processes share the tests."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["databases"] = _outcome


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _outcome.update(getattr(node, "workeroutput", {}).get("databases", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _outcome.values():
        terminalreporter.write_line(line)
