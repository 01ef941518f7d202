"""The database by its URL: what the rest of the program gets everything in this room from."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from masterjob.election.errors import SettingError
from masterjob.store import schema
from masterjob.store.connection.dialects import MYSQL, POSTGRESQL, SQLITE, Dialect
from masterjob.store.connection.lines import Line
from masterjob.store.fence import guard
from masterjob.store.switchboard import Switchboard
from masterjob.store.verbs.locks import LockVerbs
from masterjob.store.verbs.sessions import SessionVerbs
from masterjob.store.wakeups import Wakeups, Woken

_MYSQLDB = "mysql+mysqldb"
# "mariadb" becomes "mysql": SQLAlchemy would refuse a MySQL server under the other name, and we do not mind.
_SCHEMES: dict[str, tuple[str, Dialect]] = {
    "postgresql": (POSTGRESQL.driver, POSTGRESQL),
    "postgres": (POSTGRESQL.driver, POSTGRESQL),
    "postgresql+psycopg": (POSTGRESQL.driver, POSTGRESQL),
    "mysql": (MYSQL.driver, MYSQL),
    "mysql+pymysql": (MYSQL.driver, MYSQL),
    "mysql+mysqldb": (_MYSQLDB, MYSQL),
    "mariadb": (MYSQL.driver, MYSQL),
    "mariadb+pymysql": (MYSQL.driver, MYSQL),
    "mariadb+mysqldb": (_MYSQLDB, MYSQL),
    "sqlite": (SQLITE.driver, SQLITE),
    "sqlite+pysqlite": (SQLITE.driver, SQLITE),
}
_WRITE_IT_LIKE = (
    "write it like postgresql://user:password@host/database, mysql://user:password@host/database, "
    "mariadb://user:password@host/database or sqlite:////path/to/file "
    "(drivers: psycopg, pymysql, mysqldb, Python's own sqlite3)"
)
_SECRETS = ("pass", "secret", "token", "pwd")

_PEOPLE_WAIT = 5.0
_MIGRATION_TAKES = 60.0


class SqlStore(SessionVerbs, LockVerbs):
    """The election's port on one connection, used by one thread at a time; see `masterjob.election.ports`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def close(self) -> None:
        """Give the connection back; the next call would open another one."""
        self._line.close()

    def abort(self) -> None:
        """Make a call that hangs in another thread fail."""
        self._line.abort()


class Database:
    """The database that a URL names. Nothing is connected before it is used.

    ``shown`` is the URL without its passwords, for logs and people.

    Raises:
        SettingError: the URL is wrong, or names a database that is not supported.
    """

    def __init__(self, url: str) -> None:
        self._url, self._dialect = _understood(url)
        self.shown = _without_secrets(self._url)
        self.fence = guard

    def prepare(self) -> None:
        """Create or update the tables; many instances may do this at once."""
        with self._new_line(_MIGRATION_TAKES, connect_timeout=2 * _PEOPLE_WAIT) as line:
            schema.upgrade(line)

    def connect(self, timeout: float) -> SqlStore:
        """Return a connection for the election that waits for nothing longer than ``timeout`` seconds."""
        return SqlStore(self._new_line(timeout))

    def wakeups(self, woken: Woken) -> Wakeups:
        """Return the listener, to be started; ``woken`` is called in a thread of its own."""
        return Wakeups(lambda: self._new_line(_PEOPLE_WAIT), woken)

    def switchboard(self) -> Switchboard:
        """Return what people switch, ask and look with."""
        return Switchboard(lambda: self._new_line(_PEOPLE_WAIT))

    def __repr__(self) -> str:
        return f"<database {self.shown}>"

    def _new_line(self, timeout: float, connect_timeout: float | None = None) -> Line:
        return Line(self._url, self._dialect, timeout, connect_timeout)


def _understood(text: str) -> tuple[URL, Dialect]:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # its message, and this one, must not show the password
        raise SettingError(f"the database URL cannot be understood: {_WRITE_IT_LIKE}") from None
    if url.drivername not in _SCHEMES:
        raise SettingError(
            f"the database URL begins with {url.drivername}://, which is not supported: {_WRITE_IT_LIKE}"
        )
    driver, dialect = _SCHEMES[url.drivername]
    if dialect is SQLITE and _is_in_memory(url):
        raise SettingError(
            "the database URL names an SQLite database in memory, where no other instance could see it: "
            "name a file, like sqlite:////path/to/file"
        )
    url = url.set(drivername=driver)
    _demand_driver(url)
    return url, dialect


def _is_in_memory(url: URL) -> bool:
    name = url.database or ""
    return not name or ":memory:" in name or url.query.get("mode") == "memory"


def _demand_driver(url: URL) -> None:
    try:
        url.get_dialect().import_dbapi()
    except ImportError:
        raise SettingError(
            f"the driver {url.get_driver_name()}, which the database URL asks for, is not installed here"
        ) from None


def _without_secrets(url: URL) -> str:
    hidden = {key: "xxx" for key in url.query if any(word in key.lower() for word in _SECRETS)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)
