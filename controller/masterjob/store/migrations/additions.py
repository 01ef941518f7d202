"""Tables and columns that came later and that older releases need not know: created if they are missing.

They do not raise the version of the tables, because an older release refuses a version that it does not know. So
instances of both releases can work side by side while an application is upgraded.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, inspect, text

from masterjob.store.connection.connection import execute_statement
from masterjob.store.connection.dialect import Dialect

_metadata = sa.MetaData()
_TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_INTEGER = sa.BigInteger()

_REFERENCED_LOCK = sa.Table("master_lock", _metadata, sa.Column("lock_name", sa.String(200), primary_key=True))

# Columns that only ever hold what people read; times are epoch milliseconds of the database's clock.
_JOB = sa.Table(
    "master_job",
    _metadata,
    sa.Column(
        "lock_name",
        sa.String(200),
        sa.ForeignKey(_REFERENCED_LOCK.c.lock_name, ondelete="CASCADE", name="master_job_lock"),
        primary_key=True,
    ),
    sa.Column("job", sa.String(255), nullable=False),
    sa.Column("instance", sa.String(255), nullable=False),
    sa.Column("term", _INTEGER, nullable=False),
    sa.Column("phase", sa.String(20)),
    sa.Column("since_ms", _INTEGER, nullable=False),
    sa.Column("exit_code", sa.Integer()),
    sa.Column("restarts", _INTEGER, nullable=False),
    sa.Column("failures", _INTEGER, nullable=False),
    sa.Column("earlier_failures", _INTEGER, nullable=False),
    sa.Column("last_error", sa.Text(), nullable=False),
    sa.Column("output", sa.Text(), nullable=False),
    sa.Column("changed_ms", _INTEGER, nullable=False),
    **_TABLE,
)

# One row: how many locks were forgotten, and the highest term of any of them. Claims of older releases do not know
# it; their terms still follow the database's clock.
_FORGOTTEN = sa.Table(
    "master_forgotten",
    _metadata,
    sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("locks", _INTEGER, nullable=False),
    sa.Column("highest_term", _INTEGER, nullable=False),
    mysql_engine="InnoDB",
)

# Only MariaDB and MySQL need it: there `term.guard` must write the lock's row (store/fencing.py).
_ADD_GUARDED = "ALTER TABLE master_lock ADD COLUMN guarded BIGINT NOT NULL DEFAULT 0"

# One row. Older releases claim without it, so the quarantine counts when all instances know it.
_INCARNATION = sa.Table(
    "master_incarnation",
    _metadata,
    sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("incarnation", sa.String(255), nullable=False),
    sa.Column("since_ms", _INTEGER, nullable=False),
    sa.Column("lease_ms", _INTEGER, nullable=False),
    sa.Column("may_claim", sa.Boolean(), nullable=False),
    **_TABLE,
)

_TABLES = (_JOB, _FORGOTTEN, _INCARNATION)

# The first name that is stored begins no quarantine.
_FIRST_INCARNATION = """
    INSERT INTO master_incarnation (id, incarnation, since_ms, lease_ms, may_claim)
    SELECT 1, {incarnation}, {now_ms}, 0, TRUE FROM (SELECT 'unknown' AS incarnation) AS i
    WHERE NOT EXISTS (SELECT 1 FROM master_incarnation)
"""


def are_complete(connection: Connection) -> bool:
    """Return whether all of them exist."""
    exist = all(inspect(connection).has_table(table.name) for table in _TABLES)
    return exist and not _lacks_guarded(connection)


def create_missing(connection: Connection, dialect: Dialect) -> None:
    """Create those that are missing. The caller holds the lock of the migration."""
    for table in (_JOB, _FORGOTTEN):
        table.create(connection, checkfirst=True)
    if _lacks_guarded(connection):
        connection.execute(text(_ADD_GUARDED))
    if not inspect(connection).has_table(_INCARNATION.name):
        _INCARNATION.create(connection)
        execute_statement(connection, dialect, _FIRST_INCARNATION, {})


def _lacks_guarded(connection: Connection) -> bool:
    if connection.dialect.name not in ("mysql", "mariadb"):
        return False
    return all(column["name"] != "guarded" for column in inspect(connection).get_columns("master_lock"))
