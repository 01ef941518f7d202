"""The tables, brought up to date by whichever instance comes first (Alembic, without its ini file).

Many instances start at once. An instance that finds the schema up to date only reads; otherwise one of them
migrates, the others wait for it and then find nothing to do.

Source: design section 3.1.
"""

import contextlib
import threading
from collections.abc import Iterator

from sqlalchemy import Connection, inspect, text

from masterjob.election.errors import StoreUnavailable
from masterjob.store.connection.dialects import MYSQL, POSTGRESQL, Dialect
from masterjob.store.connection.lines import Line

VERSION_TABLE = "masterjob_version"

KNOWN = ("0001",)
"""Every version there ever was, the newest last: the names of the migrations."""

_ADVISORY = 0x6D6173746572  # "master": one number that no other user of this database is likely to lock
_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps the running migration in a global


def upgrade(line: Line) -> None:
    """Bring the schema up to the newest version that this package knows.

    Raises:
        StoreUnavailable: the database does not answer, or its schema is newer than this package.
    """
    line.run(lambda connection: _upgrade(connection, line.dialect, line.timeout))


def _upgrade(connection: Connection, dialect: Dialect, patience: float) -> None:
    if _is_current(connection):
        return
    with _alone(connection, dialect, patience):
        if not _is_current(connection):  # somebody else may have been first
            _migrate(connection)


def _migrate(connection: Connection) -> None:
    # Imported only where there is something to migrate: it takes longer to load than all the rest of us.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "masterjob.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")


def _is_current(connection: Connection) -> bool:
    if not inspect(connection).has_table(VERSION_TABLE):
        return False
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if found is not None and found not in KNOWN:
        raise StoreUnavailable(
            f"the tables in the database are of version {found}, which this masterjob does not know: "
            "they were made by a newer one; install that one here too"
        )
    return bool(found == KNOWN[-1])


@contextlib.contextmanager
def _alone(connection: Connection, dialect: Dialect, patience: float) -> Iterator[None]:
    """Keep all other migrations out; on an error the connection is dropped, which undoes and unlocks."""
    if dialect is MYSQL:
        # DDL commits by itself there, so a lock of the session's stands around it; its name is the server's.
        name = "CONCAT('masterjob ', LEFT(MD5(DATABASE()), 32))"
        if connection.execute(text(f"SELECT GET_LOCK({name}, {int(patience)})")).scalar() != 1:
            raise StoreUnavailable("another instance has been changing the tables for too long")
        yield
        connection.execute(text(f"SELECT RELEASE_LOCK({name})"))
        return
    connection.execute(text("BEGIN" if dialect is POSTGRESQL else "BEGIN IMMEDIATE"))
    if dialect is POSTGRESQL:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY})"))
    yield
    connection.execute(text("COMMIT"))
