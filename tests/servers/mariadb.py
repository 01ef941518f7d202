"""A temporary MariaDB. Its time zone is far from UTC, so that code that forgets the time zone fails."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql

from tests.servers.process import Server, Unavailable, find_program
from tests.servers.unpacked import unpacked
from tests.timeouts import WAIT_TIMEOUT

_PROGRAM_DIRECTORIES = (Path("/usr/sbin"), Path("/usr/libexec"), Path("/usr/bin"))


class MariaDB(Server):
    name = "MariaDB"
    users = ("mysql", "nobody")
    stop_signal = signal.SIGKILL

    def create_data_directory(self) -> None:
        self.run(
            [
                *self._installer(),
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )

    def command(self) -> Sequence[str | Path]:
        return [
            *self._server_program(),
            f"--datadir={self._data}",
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
            "--performance-schema=OFF",
            "--default-time-zone=+05:30",
            "--max-connections=150",
        ]

    def read_version(self) -> str:
        return str(self.execute("SELECT VERSION()")).split("-")[0]

    def create_database(self) -> str:
        name = self.new_database_name()
        self.execute(f"CREATE DATABASE {name} CHARACTER SET latin1")  # the tables have their own
        return self.url(name)

    def url(self, database: str) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> object:
        connection: Any = pymysql.connect(host="127.0.0.1", port=self.port, user="root")
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
            return row[0] if row else None

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _installer(self) -> Sequence[str | Path]:
        return [find_program("mariadb-install-db", *_PROGRAM_DIRECTORIES), "--no-defaults"]

    def _server_program(self) -> Sequence[str | Path]:
        try:
            program = find_program("mariadbd", *_PROGRAM_DIRECTORIES)
        except Unavailable:
            program = find_program("mysqld", *_PROGRAM_DIRECTORIES)
        return [program, "--no-defaults"]


class MariaDBPrimary(MariaDB):
    """A MariaDB that other servers can replicate."""

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--server-id=1", "--log-bin=binlog"]


class MariaDBReplica(MariaDB):
    """An asynchronous replica, which takes writes only from its primary until it is promoted."""

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--server-id=2", "--log-bin=binlog", "--read-only=ON"]

    def follow(self, primary: MariaDB) -> None:
        self.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='root', "
            "MASTER_USE_GTID=slave_pos"
        )
        self.execute("START SLAVE")
        # Returns when all that the primary has written so far is here.
        position = primary.execute("SELECT @@gtid_binlog_pos")
        assert self.execute(f"SELECT MASTER_GTID_WAIT('{position}', {WAIT_TIMEOUT})") == 0

    def lag(self) -> None:
        """Receive nothing more."""
        self.execute("STOP SLAVE")

    def promote(self) -> None:
        self.execute("SET GLOBAL read_only = OFF")


class MariaDB118(MariaDB):
    """The release of Debian 13."""

    name = "MariaDB 11.8"

    def _installer(self) -> Sequence[str | Path]:
        base = unpacked("mariadb-11.8") / "usr"
        return [base / "bin/mariadb-install-db", "--no-defaults", f"--basedir={base}"]

    def _server_program(self) -> Sequence[str | Path]:
        base = unpacked("mariadb-11.8") / "usr"
        return [base / "sbin/mariadbd", "--no-defaults", f"--basedir={base}"]
