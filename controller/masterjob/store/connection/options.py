"""The options of a database URL: renamed if another client has another word for them, and refused if the driver
does not know them. The drivers are asked without a connection, so a wrong option is not taken for an outage.
"""

import difflib
import inspect
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql
from psycopg import pq
from pymysql.connections import Connection as PyMySQLConnection
from sqlalchemy import URL

from masterjob.config.redact import redact_name, redact_secrets
from masterjob.errors import SettingError
from masterjob.store.connection.tls import mysql_tls_arguments, rename_file_options, take_tls_mode
from masterjob.store.connection.url import UrlParts, secrets_of, url_error

_SCHEMA_OPTIONS = ("schema", "currentSchema", "search_path")
_PLAIN_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_WRITABLE = ("read-write", "primary", "any")
_NO_SUCH_DIRECTORY = "/masterjob checks options and connects to nothing"

# Those that make sense only in code, that contradict this package's, or that the driver has for its own.
_PYMYSQL_EXCLUDED = {
    *("self", "user", "password", "passwd", "host", "port", "database", "db", "unix_socket"),
    *("conv", "cursorclass", "defer_connect", "autocommit", "compress", "named_pipe", "client_flag"),
    *("ssl", "ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password", "ssl_disabled"),
    *("ssl_verify_cert", "ssl_verify_identity", "auth_plugin_map", "max_allowed_packet"),
}
_MYSQLDB_OPTIONS = (
    *("connect_timeout", "init_command", "read_default_file", "read_default_group", "use_unicode", "charset"),
    *("collation", "auth_plugin", "sql_mode", "local_infile", "read_timeout", "write_timeout", "binary_prefix"),
)
_SQLITE_OPTIONS = ("uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements")


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """The options of the URL as the driver knows them, and further arguments for its connect."""

    query: dict[str, str] = field(repr=False)
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)
    shuffle_hosts: bool = False


def postgresql_options(parts: UrlParts) -> DriverOptions:
    """Return the options for libpq.

    Raises:
        SettingError: libpq does not know one or its value, or it asks for a server that cannot be written to.
    """
    options = dict(parts.options)
    mode = take_tls_mode(options)
    if mode is not None:
        options["sslmode"] = mode
    _set_search_path(options)
    wanted = options.pop("target_session_attrs", "read-write")
    if wanted not in _WRITABLE:
        raise url_error(
            f"target_session_attrs is {redact_name(wanted)}, but every instance writes heartbeats: leave it out"
        )
    shuffle_hosts = options.pop("load_balance_hosts", "disable") == "random"
    _require_known(options, [each.keyword.decode() for each in pq.Conninfo.get_defaults()])
    _ask_libpq(parts, options)
    return DriverOptions(options, shuffle_hosts=shuffle_hosts)


def _set_search_path(options: dict[str, str]) -> None:
    names = [name for name in _SCHEMA_OPTIONS if name in options]
    for name in names:
        schema = options.pop(name)
        if len(names) > 1 or not _PLAIN_SCHEMA.fullmatch(schema):
            raise url_error(f"{name} must be the name of one schema, of letters, digits and _")
        given = options.get("options", "")
        options["options"] = f'{given} -csearch_path="{schema}"'.strip()


def _ask_libpq(parts: UrlParts, options: dict[str, str]) -> None:
    """Let libpq check the values: it does so before it connects, here to a socket that does not exist."""
    nowhere = {"host": _NO_SUCH_DIRECTORY, "hostaddr": "", "port": "5432"}
    try:
        conninfo = psycopg.conninfo.make_conninfo(**{**options, **nowhere})
    except psycopg.Error as error:
        raise _refused(parts, error) from None
    attempt = pq.PGconn.connect_start(conninfo.encode())
    try:
        problem = attempt.error_message.decode(errors="replace").strip()
    finally:
        attempt.finish()
    if _NO_SUCH_DIRECTORY not in problem:
        raise _refused(parts, problem)


def mysql_options(parts: UrlParts, driver: str) -> DriverOptions:
    """Return the options for PyMySQL or mysqlclient.

    Raises:
        SettingError: the driver does not know one or its value.
    """
    options = dict(parts.options)
    options.pop("unix_socket", None)
    rename_file_options(options)
    mode = take_tls_mode(options)
    arguments = mysql_tls_arguments(mode, options, driver)
    if driver == "mysqldb":
        _require_known(options, _MYSQLDB_OPTIONS)
        return DriverOptions(options, arguments)
    known = [
        name for name in inspect.signature(PyMySQLConnection.__init__).parameters if name not in _PYMYSQL_EXCLUDED
    ]
    _require_known(options, known)
    try:
        dialect = URL.create("mysql+pymysql", query=options).get_dialect()()
        driver_arguments = dialect.create_connect_args(URL.create("mysql+pymysql", query=options))[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # without TLS: loading the machine's certificates takes 40 ms
            pymysql.connect(**driver_arguments, defer_connect=True, ssl_disabled=True)
    except Exception as error:  # PyMySQL has no type of its own for wrong arguments
        raise _refused(parts, error) from None
    return DriverOptions(options, arguments)


def check_sqlite_options(url: URL) -> None:
    """Raise if Python's sqlite3 does not know an option. With ``uri=true`` SQLite has options of its own."""
    if url.query.get("uri", "").lower() not in ("true", "1", "yes", "on"):  # type: ignore[union-attr]
        _require_known(url.query, _SQLITE_OPTIONS)
    try:
        url.get_dialect()().create_connect_args(url)
    except (ValueError, TypeError) as error:
        raise url_error(f"the driver refuses its options: {error}") from None


def _require_known(options: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name[:64], known, 1)
            hint = f"did you mean {nearest[0]}?" if nearest else "leave it out"
            raise url_error(f"its driver does not know the option {redact_name(name)}: {hint}")


def _refused(parts: UrlParts, problem: object) -> SettingError:
    message = redact_secrets(str(problem), secrets_of(parts)).splitlines() or [type(problem).__name__]
    return url_error(f"the driver refuses its options: {message[0]}")
