"""What a database URL names: the kind of database, its hosts, and what the driver needs to connect."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from masterjob.config.redact import redact_name, redact_url
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.store.connection.dialect import Dialect
from masterjob.store.connection.dialects import MYSQL, POSTGRESQL, SQLITE
from masterjob.store.connection.options import (
    DriverOptions,
    check_sqlite_options,
    mysql_options,
    postgresql_options,
)
from masterjob.store.connection.url import (
    EXAMPLES,
    Endpoint,
    UrlParts,
    parse_host_list,
    secrets_of,
    split_url,
    url_error,
)

_MYSQLDB = "mysql+mysqldb"
# "mariadb" becomes "mysql": under the name "mariadb", SQLAlchemy refuses a MySQL server.
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


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """A database as its URL names it. ``endpoints`` is empty if the driver finds the host by itself."""

    dialect: Dialect
    url: URL = field(repr=False)
    redacted_url: str
    endpoints: tuple[Endpoint, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    shuffle_hosts: bool = False

    @property
    def resolves_names(self) -> bool:
        """Whether the addresses of a name can be tried one by one. mysqlclient takes names only."""
        return self.url.drivername != _MYSQLDB

    def endpoints_in_order(self) -> Sequence[Endpoint]:
        """Return the endpoints as they are to be tried; libpq's ``load_balance_hosts=random`` shuffles them."""
        if self.shuffle_hosts:
            return random.sample(self.endpoints, len(self.endpoints))
        return self.endpoints or (Endpoint(""),)

    def is_same_database(self, other: "DatabaseTarget") -> bool:
        """Return whether both have the same kind and name of database; their hosts and accounts may differ."""
        return (self.dialect, self.url.database) == (other.dialect, other.url.database)


class TargetSource:
    """The target of a URL that may change while the process runs, because it is in a file.

    ``read_url`` returns the URL; the first call is made at once.

    Raises:
        SettingError: the URL cannot be read, or it is not valid.
    """

    def __init__(self, read_url: Callable[[], str]) -> None:
        self._read_url = read_url
        self._first = parse_target(read_url())
        self._last: tuple[str, DatabaseTarget] = ("", self._first)

    @property
    def last(self) -> DatabaseTarget:
        """The target that was read last."""
        return self._last[1]

    def read(self) -> DatabaseTarget:
        """Return the target as its URL is now.

        Raises:
            StoreUnavailable: the URL cannot be read or is not valid now, or names another database.
        """
        try:
            url = self._read_url()
            last_url, target = self._last
            if url != last_url:
                target = parse_target(url)
        except SettingError as error:
            raise StoreUnavailable(str(error)) from None
        if not target.is_same_database(self._first):
            raise StoreUnavailable(
                "the URL names another database than at the start of this process: restart all instances for that"
            )
        self._last = (url, target)
        return target


def parse_target(text: str) -> DatabaseTarget:
    """Return what a URL names. Blanks and line ends around it do not count.

    Raises:
        SettingError: it is not valid, its database or driver is not supported, or the driver does not know one of
            its options.
    """
    text = text.strip()
    scheme = text.partition("://")[0].lower()
    if "://" not in text or not scheme:
        raise url_error(EXAMPLES)
    if not text.isprintable():
        raise url_error("it has a line end or another control character in it")
    if scheme not in _SCHEMES:
        raise _unsupported(scheme)
    driver, dialect = _SCHEMES[scheme]
    target = _parse_file(text, driver) if dialect is SQLITE else _parse_server(text, driver, dialect)
    _require_driver(target.url)
    return target


def _unsupported(scheme: str) -> SettingError:
    family = scheme.removeprefix("jdbc:").partition("+")[0]
    hint = f"write {family}:// instead, which uses a driver of its own" if family in _SCHEMES else EXAMPLES
    return SettingError(f"the database URL begins with {redact_name(scheme)}://, which is not supported: {hint}")


def _parse_file(text: str, driver: str) -> DatabaseTarget:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise url_error(EXAMPLES) from None
    name = url.database or ""
    if not name or ":memory:" in name or url.query.get("mode") == "memory":
        raise SettingError(
            "the database URL names an SQLite database in memory, which no other instance could see: "
            "name a file, like sqlite:////path/to/file"
        )
    if url.username or url.password or url.host or url.port:
        raise url_error(
            "a path needs three slashes if it is relative, and four if it is absolute: sqlite:////path/to/file"
        )
    check_sqlite_options(url)
    return DatabaseTarget(SQLITE, url.set(drivername=driver), redact_url(text))


def _parse_server(text: str, driver: str, dialect: Dialect) -> DatabaseTarget:
    parts = split_url(text)
    if dialect is POSTGRESQL:
        options, endpoints = postgresql_options(parts), parts.endpoints or _endpoints_of_environment(parts)
    else:
        options = mysql_options(parts, driver.partition("+")[2])
        endpoints = _mysql_endpoints(parts)
    return DatabaseTarget(
        dialect,
        _engine_url(driver, parts, options),
        redact_url(text),
        endpoints,
        options.arguments,
        secrets_of(parts),
        options.shuffle_hosts,
    )


def _engine_url(driver: str, parts: UrlParts, options: DriverOptions) -> URL:
    return URL.create(driver, parts.user, parts.password, database=parts.database or None, query=options.query)


def _mysql_endpoints(parts: UrlParts) -> tuple[Endpoint, ...]:
    socket_path = parts.options.get("unix_socket", "")
    return (Endpoint(socket_path),) if socket_path else parts.endpoints or (Endpoint("localhost"),)


def _endpoints_of_environment(parts: UrlParts) -> tuple[Endpoint, ...]:
    """Return the hosts of libpq's PGHOST; none if a service or PGHOSTADDR names them, which libpq reads."""
    environ = os.environ
    if "service" in parts.options or any(environ.get(name) for name in ("PGSERVICE", "PGHOSTADDR")):
        return ()
    hosts = environ.get("PGHOST", "")
    return parse_host_list(hosts, environ.get("PGPORT", "")) if hosts else ()


def _require_driver(url: URL) -> None:
    try:
        url.get_dialect().import_dbapi()
    except ImportError:
        raise SettingError(f"the driver {url.get_driver_name()} of the database URL is not installed") from None
