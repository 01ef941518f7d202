"""A temporary MySQL. Its time zone is far from UTC, so that code that forgets the time zone fails."""

from collections.abc import Sequence
from pathlib import Path

from tests.servers.mariadb import MariaDB
from tests.servers.unpacked import unpacked


class MySQL(MariaDB):
    """The newest release of MySQL that Debian has. It is asked like a MariaDB, but is another server."""

    name = "MySQL"

    def create_data_directory(self) -> None:
        # MySQL creates its root for the name localhost only, and names are not looked up
        self._init_file.write_text(
            "CREATE USER IF NOT EXISTS root@'127.0.0.1'; GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;"
        )
        self.run([self._program(), *self._files(), "--initialize-insecure", "--innodb-redo-log-capacity=8M"])

    def command(self) -> Sequence[str | Path]:
        return [
            self._program(),
            *self._files(),
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--init-file={self._init_file}",
            "--mysqlx=OFF",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
            "--innodb-buffer-pool-size=32M",
            "--innodb-redo-log-capacity=16M",
            "--performance-schema=OFF",
            "--default-time-zone=+05:30",
            "--max-connections=150",
        ]

    def url(self, database: str) -> str:
        return super().url(database).replace("mariadb://", "mysql://")

    @property
    def _init_file(self) -> Path:
        return self.directory / "init.sql"

    def _files(self) -> Sequence[str]:
        return [
            "--no-defaults",
            f"--basedir={unpacked('mysql') / 'usr'}",
            f"--lc-messages-dir={unpacked('mysql') / 'usr/share/mysql'}",
            "--secure-file-priv=NULL",
            f"--datadir={self._data}",
        ]

    @staticmethod
    def _program() -> Path:
        return unpacked("mysql") / "usr/sbin/mysqld"
