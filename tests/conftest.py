"""The database servers of a test run, and a word at its end about which of them there were."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import MariaDB, PostgreSQL, Server, Unavailable
from tests.servers.outcome import outcome as _outcome

_unavailable: dict[str, str] = {}


def _start(kind: type[Server]) -> Iterator[Server | None]:
    try:
        server = kind()
        server.start()
    except Unavailable as error:
        _unavailable[kind.name] = str(error)
        _outcome[kind.name] = f"{kind.name}: skipped, because {error}"
        yield None
        return
    _outcome[kind.name] = f"{kind.name} {server.version}: tested"
    yield server
    server.stop()


def _demand(server: Server | None, name: str) -> Server:
    if server is None:
        why = f"{name} cannot be had here: {_unavailable[name]}"
        if os.environ.get("MASTERJOB_REQUIRE_DATABASES") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    return server


@pytest.fixture(scope="session")
def postgresql_or_none() -> Iterator[Server | None]:
    yield from _start(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb_or_none() -> Iterator[Server | None]:
    yield from _start(MariaDB)


@pytest.fixture
def postgresql(postgresql_or_none: Server | None) -> Server:
    return _demand(postgresql_or_none, "PostgreSQL")


@pytest.fixture
def mariadb(mariadb_or_none: Server | None) -> Server:
    return _demand(mariadb_or_none, "MariaDB")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where several processes share the tests, each sends home what it has seen."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["databases"] = _outcome


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _outcome.update(getattr(node, "workeroutput", {}).get("databases", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _outcome.values():
        terminalreporter.write_line(line)
