"""A transaction of a job in the election's database, written by hand."""

import sqlite3
from contextlib import closing
from typing import Any

import psycopg
import pymysql
from sqlalchemy import make_url

from masterjob.election.values import Term
from masterjob.errors import StoreUnavailable
from masterjob.store.fencing import check_term
from tests.store.conftest import SqlBackend, claim_lock, open_session
from tests.store.parallel import retry
from tests.timeouts import WAIT_TIMEOUT


class JobTransaction:
    """A transaction of the job in the election's database, and the election around it."""

    def __init__(self, backend: SqlBackend) -> None:
        self.backend = backend
        self._store = backend.connect()
        self._session_id = open_session(self._store)
        self.term = claim_lock(self._store, self._session_id)
        self._evictor = backend.connect(timeout=1.0)
        self.connection = connect_driver(backend)

    def run(self, *statements: str) -> None:
        with closing(self.connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)
                if cursor.description:
                    cursor.fetchall()

    def begin(self, level: str, *, xa: str | None = None) -> None:
        """Begin, and read the locks, which fixes the view of the transaction at the stricter levels."""
        if self.backend.name == "postgresql":
            self.run(f"BEGIN ISOLATION LEVEL {level}")
        elif self.backend.name == "sqlite":
            self.run("BEGIN")  # there is one level only
        else:
            begin = f"XA START '{xa}'" if xa else "START TRANSACTION"
            self.run(f"SET TRANSACTION ISOLATION LEVEL {level}", begin)
        # not on the lock's row: SERIALIZABLE would keep the eviction out on MariaDB, and so hide a late guard
        self.run("SELECT COUNT(*) FROM master_lock WHERE lock_name = 'another'")

    def write(self, what: str = "mine", table: str = "effect") -> None:
        self.run(f"INSERT INTO {table} (what) VALUES ('{what}')")

    def guard(self) -> None:
        check_term(self.connection, self.term)

    def evict(self) -> bool:
        """Try to evict the master; return whether that was possible."""
        try:
            return self._evictor.evict(self._session_id, 1, if_stale=False) is not None
        except StoreUnavailable:
            return False

    def take_over(self) -> Term:
        """Evict the master, and let another instance claim the lock."""
        retry(self._store.evict, self._session_id, 1, if_stale=False)
        return claim_lock(self._store, open_session(self._store, "next"))

    def effects(self, table: str = "effect") -> list[str]:
        return [row.what for row in self.backend.execute(f"SELECT what FROM {table}")]


def connect_driver(backend: SqlBackend) -> Any:
    url = make_url(backend.url)
    if backend.name == "postgresql":
        return psycopg.connect(backend.url, autocommit=True)
    if backend.name == "sqlite":
        return sqlite3.connect(str(url.database), timeout=WAIT_TIMEOUT, isolation_level=None)
    return pymysql.connect(
        host="127.0.0.1",
        port=url.port or 0,
        user="root",
        database=url.database,
        autocommit=True,
        ssl_disabled=True,
    )
