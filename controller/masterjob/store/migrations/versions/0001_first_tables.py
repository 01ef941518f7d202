"""The first tables: sessions, locks, switches and the history.

Each is created only if it is missing: on MariaDB and MySQL a crash in between leaves the first ones behind.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Names are compared byte by byte on every database. A foreign key needs InnoDB and the same collation on both
# sides.
_TABLE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "if_not_exists": True,
}
_NAME = sa.String(200)
_SHORT = sa.String(255)
_SOURCE = sa.String(400)
_TEXT = sa.Text()
_INTEGER = sa.BigInteger()
_TIMESTAMP = (
    sa.DateTime(timezone=True)
    .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    .with_variant(sa.Text(), "sqlite")
)
_AUTO_INCREMENT_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_sessions()
    _create_locks()
    _create_controls()
    _create_events()


def _create_sessions() -> None:
    identity_columns = ("address", "pod", "pod_uid", "node", "container", "container_id")
    op.create_table(
        "master_session",
        sa.Column("id", _SHORT, primary_key=True),
        sa.Column("instance", _SHORT, nullable=False),
        *(sa.Column(name, _SHORT, nullable=False) for name in identity_columns),
        sa.Column("beat", _INTEGER, nullable=False),
        sa.Column("heartbeat_at", _TIMESTAMP, nullable=False),
        sa.Column("heartbeat_ms", _INTEGER, nullable=False),
        sa.Column("lease_ms", _INTEGER, nullable=False),
        sa.Column("started_at", _TIMESTAMP, nullable=False),
        **_TABLE,
    )
    if op.get_bind().dialect.name == "postgresql":
        # A renewal leaves a dead row behind. With free space on the page, and no index on what changes, the next
        # renewal reuses it (HOT); otherwise the table would grow as long as the application runs.
        op.execute(
            "ALTER TABLE master_session SET (fillfactor = 20, autovacuum_vacuum_threshold = 50, "
            "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0)"
        )


def _create_locks() -> None:
    op.create_table(
        "master_lock",
        sa.Column("lock_name", _NAME, primary_key=True),
        sa.Column(
            "holder",
            _SHORT,
            sa.ForeignKey("master_session.id", ondelete="SET NULL", name="master_lock_holder"),
        ),
        sa.Column("term", _INTEGER, nullable=False),
        sa.Column("acquired_at", _TIMESTAMP),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("step_down_term", _INTEGER),
        **_TABLE,
    )
    _create_index("master_lock_by_holder", "master_lock", ["holder"])


def _create_controls() -> None:
    op.create_table(
        "master_control",
        sa.Column("lock_name", _NAME, primary_key=True),
        sa.Column("source", _SOURCE, primary_key=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("actor", _SHORT, nullable=False),
        sa.Column("until", _INTEGER),  # epoch milliseconds: it is compared with the database's clock
        sa.Column("generation", _INTEGER),
        sa.Column("cluster", _SHORT),
        sa.Column("namespace", _SHORT),
        sa.Column("name", _SHORT),
        sa.Column("changed_at", _TIMESTAMP, nullable=False),
        **_TABLE,
    )


def _create_events() -> None:
    op.create_table(
        "master_event",
        sa.Column("id", _AUTO_INCREMENT_ID, primary_key=True, autoincrement=True),
        sa.Column("lock_name", _NAME, nullable=False),
        sa.Column("term", _INTEGER),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("instance", _SHORT),
        sa.Column("actor", _SHORT),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        **_TABLE,
    )
    _create_index("master_event_by_lock", "master_event", ["lock_name", "id"])


def _create_index(name: str, table: str, columns: list[str]) -> None:
    # MySQL has no CREATE INDEX IF NOT EXISTS.
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)
