"""Several hosts on real servers: a silent one does not use up the time of the others."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from masterjob.errors import StoreUnavailable
from masterjob.store.database import Database
from tests.conftest import Servers
from tests.servers import MariaDB, PostgreSQL, Server
from tests.servers.process import free_port
from tests.store.conftest import SqlBackend
from tests.timeouts import WAIT_TIMEOUT

BUDGET = 16.0
"""Seconds for one call: the second of two addresses gets its turn after half of it."""


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers.require(request.param)


def new_url(server: Server) -> str:
    """Return the URL of a new database, without TLS: to load certificates takes long on a busy machine."""
    return server.create_database() + ("?ssl-mode=DISABLED" if isinstance(server, MariaDB) else "")


@contextmanager
def silent_listener(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server((host, port), backlog=16) as listener:
        yield listener.getsockname()[1]


def call(url: str, timeout: float = BUDGET) -> None:
    store = Database(url).connect(timeout)
    try:
        store._db.fetch_all("SELECT 1")
    finally:
        store.close()


def test_a_silent_first_host_leaves_time_for_the_second(server: Server) -> None:
    url = new_url(server)
    with silent_listener() as port:
        call(url.replace("127.0.0.1:", f"127.0.0.1:{port},127.0.0.1:"))


def test_a_closed_port_is_followed_by_the_next_host(server: Server) -> None:
    url = new_url(server)
    call(url.replace("127.0.0.1:", f"127.0.0.1:{free_port()},127.0.0.1:"), WAIT_TIMEOUT)


def test_the_query_form_of_several_hosts_works_too(postgresql: Server) -> None:
    url = postgresql.create_database()
    here = f"127.0.0.1:{postgresql.port}"
    call(url.replace(here, "") + f"?host=127.0.0.1:{free_port()}&host={here}", WAIT_TIMEOUT)


def resolve_to(*addresses: str) -> Callable[..., list[tuple[object, ...]]]:
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: object, **options: object) -> list[tuple[object, ...]]:
        if host != "db.example":
            return real(host, *arguments, **options)  # type: ignore[arg-type, return-value]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        port = arguments[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def test_a_name_with_a_silent_first_address_leaves_time_for_the_second(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_url(server).replace("127.0.0.1", "db.example")
    monkeypatch.setattr(socket, "getaddrinfo", resolve_to("127.0.0.2", "127.0.0.1"))
    with silent_listener("127.0.0.2", server.port):
        call(url)


def test_a_name_that_is_not_known_is_followed_by_the_next_host(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolve_to())
    url = new_url(server)
    with pytest.raises(StoreUnavailable, match=r"failed to resolve host 'db\.example'"):
        call(url.replace("127.0.0.1", "db.example"), WAIT_TIMEOUT)
    call(url.replace("127.0.0.1:", "db.example:1,127.0.0.1:"), WAIT_TIMEOUT)


def test_a_name_server_that_does_not_answer_does_not_use_up_the_time_of_the_next_host(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, released = socket.getaddrinfo, threading.Event()

    def resolve(host: str, *arguments: object, **options: object) -> object:
        if host == "db.example":
            released.wait(WAIT_TIMEOUT)
        return real(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = new_url(server)
    call(url.replace("127.0.0.1:", "db.example:1,127.0.0.1:"))
    released.set()


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_a_replica_that_takes_no_writes_is_not_used(name: str, servers: Servers) -> None:
    server = servers.require(name)
    assert isinstance(server, MariaDB)
    url = server.create_database()
    server.execute("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(StoreUnavailable, match="this server is read-only"):
            call(url, WAIT_TIMEOUT)
    finally:
        server.execute("SET GLOBAL read_only = 0")
    call(url, WAIT_TIMEOUT)


def test_a_database_of_postgresql_that_takes_no_writes_is_not_used(postgresql: Server) -> None:
    assert isinstance(postgresql, PostgreSQL)
    url = postgresql.create_database()
    postgresql.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-only"):
        call(url, WAIT_TIMEOUT)


def test_a_call_that_hangs_at_every_host_can_be_aborted(postgresql_backend: SqlBackend) -> None:
    with silent_listener() as port:
        store = Database(f"postgresql://u:p@127.0.0.1:{port},127.0.0.1:{port}/db").connect(3600)
        postgresql_backend.add_closer(store.close)
        failed = threading.Event()

        def abort_repeatedly() -> None:
            while not failed.wait(0.05):
                store.abort()

        aborter = threading.Thread(target=abort_repeatedly)
        aborter.start()
        try:
            with pytest.raises(StoreUnavailable, match="no connection within"):
                store.list_sessions()
        finally:
            failed.set()
            aborter.join()
