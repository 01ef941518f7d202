"""Temporary PgBouncers, each before a PostgreSQL of its own."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psycopg
from sqlalchemy import make_url

from tests.servers.postgresql import PostgreSQL
from tests.servers.process import Server
from tests.servers.unpacked import unpacked


class PgBouncer(Server):
    """A transaction pooler: a session of the server is lent for one transaction."""

    name = "PgBouncer"
    users = PostgreSQL.users
    stop_signal = signal.SIGQUIT
    pool_mode: ClassVar[str] = "transaction"
    pool_size: ClassVar[int] = 4
    """The most sessions of the server for one database and user."""

    def __init__(self) -> None:
        super().__init__()
        self.upstream = PostgreSQL()

    def start(self) -> None:
        self._program()
        self.upstream.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self.upstream.stop()

    def create_data_directory(self) -> None:
        (self.directory / "users").write_text('"test" "secret"\n')
        self._configuration.write_text(
            f"""
[databases]
* = host=127.0.0.1 port={self.upstream.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.directory / "users"}
admin_users = test
pool_mode = {self.pool_mode}
default_pool_size = {self.pool_size}
max_client_conn = 100
"""
        )

    def command(self) -> Sequence[str | Path]:
        return [self._program(), self._configuration]

    def read_version(self) -> str:
        with psycopg.connect(self.url("pgbouncer"), autocommit=True) as connection:
            row = connection.execute("SHOW VERSION").fetchone()
            assert row is not None
            return str(row[0]).rpartition(" ")[2]

    def create_database(self) -> str:
        return self.url(str(make_url(self.upstream.create_database()).database))

    def url(self, database: str) -> str:
        return f"postgresql://test:secret@127.0.0.1:{self.port}/{database}"

    def direct_url(self, url: str) -> str:
        """Return the URL of the same database without the pooler."""
        return self.upstream.url(str(make_url(url).database))

    @property
    def _configuration(self) -> Path:
        return self.directory / "pgbouncer.ini"

    @staticmethod
    def _program() -> Path:
        return unpacked("pgbouncer") / "usr/sbin/pgbouncer"


class SessionPgBouncer(PgBouncer):
    """A session pooler: a session of the server is lent for as long as the client is connected."""

    name = "PgBouncer in session mode"
    pool_mode = "session"
    pool_size = 20
