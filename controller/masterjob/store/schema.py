"""Creates and upgrades the tables (Alembic, without its ini file).

A migration raises the version of the tables, and older releases then refuse to work. What they need not know is
added without that (`migrations/additions.py`).

Many instances start at once. An instance that finds the schema up to date only reads. Otherwise one of them
migrates; the others wait for it and then find nothing to do.
"""

import contextlib
import threading
from collections.abc import Iterator

from sqlalchemy import Connection, inspect, text

from masterjob.errors import StoreUnavailable
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialect import Dialect
from masterjob.store.connection.dialects import MYSQL, POSTGRESQL
from masterjob.store.migrations import additions

VERSION_TABLE = "masterjob_version"

KNOWN_VERSIONS = ("0001",)
"""All schema versions, oldest first: the names of the migrations."""

_TABLES = ("master_session", "master_lock", "master_control", "master_event")
"""The tables of the newest version; `additions` has the others."""

_ADVISORY_LOCK_ID = 0x6D6173746572  # "master": unlikely to be used by anything else in this database
_MIGRATION_LOCK = threading.Lock()  # Alembic keeps the running migration in a global


def upgrade(db: BoundedConnection) -> None:
    """Upgrade the schema to the newest version that this package knows.

    Raises:
        StoreUnavailable: the database does not answer, or its schema is newer than this package.
    """
    if db.run(_is_current):
        return
    if db.dialect is MYSQL:  # DDL commits implicitly there, so a transaction is of no use
        db.run(lambda connection: _upgrade(connection, db.dialect, db.timeout))
    else:
        db.transact(lambda connection: _upgrade(connection, db.dialect, db.timeout))


def _upgrade(connection: Connection, dialect: Dialect, timeout: float) -> None:
    with _exclusive_migration(connection, dialect, timeout):
        if not _has_newest_version(connection):  # another instance may have been first
            _migrate(connection)
        elif not _has_tables(connection):  # some were dropped: each migration creates only what is missing
            connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))  # noqa: S608
            _migrate(connection)
        additions.create_missing(connection, dialect)


def _migrate(connection: Connection) -> None:
    # Imported only if there is something to migrate: Alembic takes longer to load than the rest of this package.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "masterjob.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _MIGRATION_LOCK:
        command.upgrade(config, "head")


def _is_current(connection: Connection) -> bool:
    return _has_newest_version(connection) and _has_tables(connection) and additions.are_complete(connection)


def _has_tables(connection: Connection) -> bool:
    return all(inspect(connection).has_table(name) for name in _TABLES)


def _has_newest_version(connection: Connection) -> bool:
    if not inspect(connection).has_table(VERSION_TABLE):
        return False
    version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if version is not None and version not in KNOWN_VERSIONS:
        raise StoreUnavailable(
            f"the tables in the database are of version {version}, which this masterjob does not know: "
            "a newer release created them; upgrade this one too"
        )
    return bool(version == KNOWN_VERSIONS[-1])


@contextlib.contextmanager
def _exclusive_migration(connection: Connection, dialect: Dialect, timeout: float) -> Iterator[None]:
    """Exclude all other migrations. On an error the connection is dropped, which rolls back and unlocks."""
    if dialect is MYSQL:
        # A lock of the session, since there is no transaction; its name is global to the server.
        # SHA2, because newer releases of MySQL have no MD5.
        mysql_lock_name = "CONCAT('masterjob ', LEFT(SHA2(DATABASE(), 256), 32))"
        if connection.execute(text(f"SELECT GET_LOCK({mysql_lock_name}, {int(timeout)})")).scalar() != 1:
            raise StoreUnavailable("another instance has been changing the tables for too long")
        yield
        connection.execute(text(f"SELECT RELEASE_LOCK({mysql_lock_name})"))
        return
    if dialect is POSTGRESQL:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK_ID})"))
    yield
