"""A temporary PostgreSQL. Its time zone is far from UTC, so that code that forgets the time zone fails."""

import signal
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.servers.process import Server, find_program
from tests.servers.unpacked import unpacked

PASSWORD_GROUP = "with_password"
"""A role; its members, which a test creates, need their passwords."""


class PostgreSQL(Server):
    name = "PostgreSQL"
    users = ("postgres", "nobody")
    stop_signal = signal.SIGQUIT

    def create_data_directory(self) -> None:
        self.run([self._program("initdb"), "-D", self._data, "-U", "test", "-A", "trust", "-E", "UTF8", "-N"])
        access = self._data / "pg_hba.conf"
        access.write_text(f"host all +{PASSWORD_GROUP} 127.0.0.1/32 scram-sha-256\n{access.read_text()}")

    def command(self) -> Sequence[str | Path]:
        settings = {
            "max_prepared_transactions": "5",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "150",
            "timezone": "Asia/Kolkata",
            "default_transaction_isolation": "repeatable read",  # as some users set it; the store needs another
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self._data, "-p", str(self.port), *options]

    def read_version(self) -> str:
        return str(self.execute("SHOW server_version")).split()[0]

    def create_database(self) -> str:
        name = self.new_database_name()
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://test:secret@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> object:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _program(self, name: str) -> Path:
        installed_directories = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda directory: float(directory.parent.name)
        )
        return find_program(name, *reversed(installed_directories))


class PostgreSQL17(PostgreSQL):
    """The release of Debian 13."""

    name = "PostgreSQL 17"

    def _program(self, name: str) -> Path:
        return unpacked("postgresql-17") / "usr/lib/postgresql/17/bin" / name


class PostgreSQL18(PostgreSQL):
    name = "PostgreSQL 18"

    def _program(self, name: str) -> Path:
        return unpacked("postgresql-18") / "usr/lib/postgresql/18/bin" / name


class PostgreSQLStandby(PostgreSQL):
    """An asynchronous standby of another server, from a base backup that is taken at once.

    Until it is started it receives nothing: what is written meanwhile is lost if the primary is gone by then.
    """

    def __init__(self, primary: PostgreSQL) -> None:
        super().__init__()
        source = f"host=127.0.0.1 port={primary.port} user=test"
        self.run(
            [self._program("pg_basebackup"), "-D", self._data, "-d", source, "-X", "stream", "-R", "-c", "fast"]
        )

    def create_data_directory(self) -> None:
        """Do nothing: the backup is the data."""

    def promote(self) -> None:
        self.execute("SELECT pg_promote(true, 60)")
