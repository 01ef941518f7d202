"""A throw-away MariaDB. Its time zone is far from UTC, so that whoever forgets the zone is found out."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql

from tests.servers.process import Server, Unavailable, find


class MariaDB(Server):
    name = "MariaDB"
    users = ("mysql", "nobody")
    end_signal = signal.SIGKILL

    def create(self) -> None:
        self.run(
            [
                find("mariadb-install-db", *_PLACES),
                "--no-defaults",
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )

    def command(self) -> Sequence[str | Path]:
        return [
            _server(),
            "--no-defaults",
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

    def ask_version(self) -> str:
        return str(self.do("SELECT VERSION()")).split("-")[0]

    def fresh(self) -> str:
        name = self.new_name()
        self.do(f"CREATE DATABASE {name} CHARACTER SET latin1")  # the tables bring their own
        return self.url(name)

    def url(self, database: str) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/{database}"

    def do(self, statement: str) -> object:
        connection: Any = pymysql.connect(host="127.0.0.1", port=self.port, user="root")
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
            return row[0] if row else None

    @property
    def _data(self) -> Path:
        return self.directory / "data"


_PLACES = (Path("/usr/sbin"), Path("/usr/libexec"), Path("/usr/bin"))


def _server() -> Path:
    try:
        return find("mariadbd", *_PLACES)
    except Unavailable:
        return find("mysqld", *_PLACES)
