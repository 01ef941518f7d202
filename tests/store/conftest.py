"""The stores under test, each with the few things that a test does to the database directly."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from masterjob.election.ports import Store
from masterjob.election.values import Identity, NewSession, Term
from masterjob.store.admin import LockAdmin
from masterjob.store.connection.dialects import MYSQL, SQLITE
from masterjob.store.connection.target import parse_target
from masterjob.store.database import Database, SqlStore
from tests.conftest import Servers
from tests.servers import OTHER_RELEASES

_SQL_BACKENDS = ("sqlite", "postgresql", "mariadb", "mysql")
_CONTRACT_BACKENDS = (*_SQL_BACKENDS, *OTHER_RELEASES, "pgbouncer")
"""Other releases, and a transaction pooler, keep the contract of a store too."""

SERVERS = pytest.mark.parametrize("sql_backend", ["postgresql", "mariadb", "mysql"], indirect=True)
"""For tests that only apply to a database server."""

_ids = itertools.count(1)


class Backend(Protocol):
    """A store, and what a test needs to do to it from outside."""

    def connect(self) -> Store: ...
    def backdate(self, session_id: str, ms: int) -> None: ...
    def disable(self, lock_name: str) -> None: ...
    def enable(self, lock_name: str) -> None: ...
    def quarantine(self) -> None: ...
    def history_kinds(self, lock_name: str) -> list[str]: ...


class SqlBackend:
    """A database for one test. Everything opened through it is closed after the test."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.database = Database(url)
        self.admin: LockAdmin = self.database.lock_admin()
        self._closers: list[Callable[[], None]] = []
        self.dialect = parse_target(url).dialect
        # Without TLS: loading the machine's certificates takes PyMySQL longer than everything else in these tests.
        # MySQL needs it for a password.
        without_tls = self.dialect is MYSQL and not make_url(url).password
        connect_arguments = {"ssl_disabled": True} if without_tls else {}
        self.engine = create_engine(
            make_url(url).set(drivername=self.dialect.driver), poolclass=NullPool, connect_args=connect_arguments
        )

    def connect(self, timeout: float = 10.0) -> SqlStore:
        store = self.database.connect(timeout)
        self._closers.append(store.close)
        return store

    def add_closer(self, closer: Callable[[], None]) -> None:
        self._closers.append(closer)

    def close(self) -> None:
        for closer in reversed(self._closers):
            closer()

    def execute(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def backdate(self, session_id: str, ms: int) -> None:
        self.execute(
            "UPDATE master_session SET heartbeat_ms = heartbeat_ms - :ms WHERE id = :id", ms=ms, id=session_id
        )

    def quarantine(self) -> None:
        """Begin a quarantine, without a promotion."""
        self.execute("UPDATE master_incarnation SET may_claim = FALSE")

    def begin_disable(self, lock_name: str) -> Connection:
        """Begin a switch on another connection, and do not commit it."""
        connection = self.engine.connect()
        if self.dialect is SQLITE:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text("UPDATE master_lock SET enabled = FALSE WHERE lock_name = :n"), {"n": lock_name})
        return connection

    def history_kinds(self, lock_name: str) -> list[str]:
        return [event.kind for event in reversed(self.admin.history(lock_name))]

    def disable(self, lock_name: str) -> None:
        self.admin.disable(lock_name, "a test", "tester")

    def enable(self, lock_name: str) -> None:
        self.admin.enable(lock_name, "tester")


def new_session(instance: str = "one", lease_ms: int = 24_000) -> NewSession:
    """Return a session with a new id."""
    return NewSession(f"session-{next(_ids)}", Identity(instance, address="10.0.0.1", pod="pod-1"), lease_ms)


def open_session(store: Store, instance: str = "one", lease_ms: int = 24_000) -> str:
    new = new_session(instance, lease_ms)
    store.open_session(new)
    return new.id


def claim_lock(store: Store, session_id: str, name: str = "job") -> Term:
    """Claim the lock for the session."""
    store.ensure_locks([name])
    (term,) = store.claim(session_id, [name])
    return term


def _new_database_url(name: str, servers: Servers, tmp_path: Path) -> str:
    if name == "sqlite":
        return f"sqlite:///{tmp_path / 'masterjob.db'}"
    return servers.require(name).create_database()


_prepared_urls: dict[str, str] = {}
_TABLES = ("master_forgotten", "master_job", "master_event", "master_control", "master_lock", "master_session")


def backend_with_tables(name: str, servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    """A database with empty tables. On a server it is always the same one: creating tables takes longer than most
    tests."""
    if name == "sqlite" or name not in _prepared_urls:
        url = _prepared_urls[name] = _new_database_url(name, servers, tmp_path)
        Database(url).prepare()
    backend = SqlBackend(name, _prepared_urls[name])
    if name != "sqlite":
        with backend.engine.begin() as connection:
            for table in _TABLES:
                connection.execute(text(f"DELETE FROM {table}"))
            connection.execute(text("UPDATE master_incarnation SET may_claim = TRUE"))
    yield backend
    backend.close()


@pytest.fixture(params=_SQL_BACKENDS)
def empty_backend(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    """Each of the databases, without tables yet."""
    backend = SqlBackend(request.param, _new_database_url(request.param, servers, tmp_path))
    yield backend
    backend.close()


@pytest.fixture(params=_SQL_BACKENDS)
def sql_backend(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    """Each of the databases, with tables."""
    yield from backend_with_tables(request.param, servers, tmp_path)


@pytest.fixture
def postgresql_backend(servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    yield from backend_with_tables("postgresql", servers, tmp_path)


@pytest.fixture
def sqlite_backend(servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    yield from backend_with_tables("sqlite", servers, tmp_path)


@pytest.fixture
def mariadb_backend(servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    yield from backend_with_tables("mariadb", servers, tmp_path)


@pytest.fixture(params=("memory", *_CONTRACT_BACKENDS))
def backend(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Backend]:
    """Every store that the election runs on, the simulator's included."""
    if request.param == "memory":
        memory = pytest.importorskip("tests.simulation.memory")
        ticks = itertools.count(1_800_000_000_000)
        yield memory.MemoryDatabase(lambda: next(ticks))
    else:
        yield from backend_with_tables(request.param, servers, tmp_path)


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.connect()
