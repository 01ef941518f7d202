"""The database by its URL: what the rest of the program gets everything in this room from."""

from collections.abc import Callable

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from masterjob.errors import SettingError
from masterjob.store import schema
from masterjob.store.admin import LockAdmin
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialects import MYSQL, POSTGRESQL, SQLITE, Dialect
from masterjob.store.fencing import check_term
from masterjob.store.notifier import LocksChangedCallback, Notifier
from masterjob.store.queries.locks import LockQueries
from masterjob.store.queries.sessions import SessionQueries

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
_URL_EXAMPLES = (
    "write it like postgresql://user:password@host/database, mysql://user:password@host/database, "
    "mariadb://user:password@host/database or sqlite:////path/to/file "
    "(drivers: psycopg, pymysql, mysqldb, Python's own sqlite3)"
)
_SECRET_WORDS = ("pass", "secret", "token", "pwd")

_ADMIN_TIMEOUT = 5.0
_MIGRATION_TIMEOUT = 60.0


class SqlStore(SessionQueries, LockQueries):
    """The election's port on one connection, used by one thread at a time; see `masterjob.election.ports`."""

    def __init__(self, db: BoundedConnection) -> None:
        self._db = db

    def close(self) -> None:
        """Give the connection back; the next call would open another one."""
        self._db.close()

    def abort(self) -> None:
        """Make a call that hangs in another thread fail."""
        self._db.abort()


class Database:
    """The database that a URL names. Nothing is connected before it is used.

    ``redacted_url`` is the URL without its passwords, for logs and people.

    Raises:
        SettingError: the URL is wrong, or names a database that is not supported.
    """

    def __init__(self, url: str) -> None:
        self._url, self._dialect = _parse_url(url)
        self.redacted_url = _redact(self._url)
        self.fence = check_term

    def prepare(self) -> None:
        """Create or update the tables; many instances may do this at once."""
        with self._new_connection(_MIGRATION_TIMEOUT, connect_timeout=2 * _ADMIN_TIMEOUT) as db:
            schema.upgrade(db)

    def connect(self, timeout: float) -> SqlStore:
        """Return a connection for the election that waits for nothing longer than ``timeout`` seconds."""
        return SqlStore(self._new_connection(timeout))

    def create_notifier(self, on_change: LocksChangedCallback) -> Notifier:
        """Return the listener, to be started; ``on_change`` is called in a thread of its own."""
        return Notifier(lambda: self._new_connection(_ADMIN_TIMEOUT), on_change)

    def lock_admin(self, on_write: Callable[[str], None] = lambda _: None) -> LockAdmin:
        """Return the admin interface; ``on_write`` is called with the lock's name after each write."""
        return LockAdmin(lambda: self._new_connection(_ADMIN_TIMEOUT), on_write)

    def __repr__(self) -> str:
        return f"<database {self.redacted_url}>"

    def _new_connection(self, timeout: float, connect_timeout: float | None = None) -> BoundedConnection:
        return BoundedConnection(self._url, self._dialect, timeout, connect_timeout)


def _parse_url(text: str) -> tuple[URL, Dialect]:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # its message, and this one, must not show the password
        raise SettingError(f"the database URL cannot be understood: {_URL_EXAMPLES}") from None
    if url.drivername not in _SCHEMES:
        raise SettingError(
            f"the database URL begins with {url.drivername}://, which is not supported: {_URL_EXAMPLES}"
        )
    driver, dialect = _SCHEMES[url.drivername]
    if dialect is SQLITE and _is_in_memory(url):
        raise SettingError(
            "the database URL names an SQLite database in memory, where no other instance could see it: "
            "name a file, like sqlite:////path/to/file"
        )
    url = url.set(drivername=driver)
    _require_driver(url)
    return url, dialect


def _is_in_memory(url: URL) -> bool:
    name = url.database or ""
    return not name or ":memory:" in name or url.query.get("mode") == "memory"


def _require_driver(url: URL) -> None:
    try:
        url.get_dialect().import_dbapi()
    except ImportError:
        raise SettingError(
            f"the driver {url.get_driver_name()}, which the database URL asks for, is not installed here"
        ) from None


def _redact(url: URL) -> str:
    redacted_query = {key: "xxx" for key in url.query if any(word in key.lower() for word in _SECRET_WORDS)}
    return url.update_query_dict(redacted_query).render_as_string(hide_password=True)
