"""The database servers of a test run, and a summary of them at its end."""

import os
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from tests.servers import SERVERS, NotUnpacked, Server, Unavailable
from tests.servers.outcome import server_outcomes as _outcome

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs with SIGINT ignored, and every child inherits that: Ctrl-C could not end one.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Servers:
    """The servers of this test run, each started when the first test needs it."""

    def __init__(self) -> None:
        self._started: dict[str, Server | Unavailable] = {}

    def get(self, name: str) -> Server | Unavailable:
        """Return the server with this name in `SERVERS`, or why there is none."""
        if name not in self._started:
            self._started[name] = _start_server(SERVERS[name])
        return self._started[name]

    def require(self, name: str) -> Server:
        """Return the server; end the test if there is none."""
        server = self.get(name)
        return server if isinstance(server, Server) else _end_test(SERVERS[name].name, server)

    def stop(self) -> None:
        for server in self._started.values():
            if isinstance(server, Server):
                server.stop()


def _start_server(server_class: type[Server]) -> Server | Unavailable:
    name = server_class.name
    try:
        server = server_class()
        server.start()
    except Unavailable as error:
        _outcome[name] = f"{name}: skipped, because {error}"
        return error
    # so that a release is named once, as in "PostgreSQL 17.12" for "PostgreSQL 17"
    kind, _, detail = name.partition(" ")
    _outcome[name] = f"{kind if server.version.startswith(detail) else name} {server.version}: tested"
    return server


def _end_test(name: str, error: Unavailable) -> NoReturn:
    reason = f"{name} is not available: {error}"
    is_required = os.environ.get("MASTERJOB_REQUIRE_DATABASES") == "1" and not isinstance(error, NotUnpacked)
    if is_required:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def postgresql_or_none(servers: Servers) -> Server | None:
    server = servers.get("postgresql")
    return server if isinstance(server, Server) else None


@pytest.fixture
def postgresql(servers: Servers) -> Server:
    return servers.require("postgresql")


@pytest.fixture
def mariadb(servers: Servers) -> Server:
    return servers.require("mariadb")


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
