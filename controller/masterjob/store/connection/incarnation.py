"""The SQL with which a server names the history of commits that it is in.

A promoted replica lacks the last commits of the old primary, so its history is another one, and its name must be
another one too. But all nodes of one cluster that commit together must give the same name.
"""

import logging

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger("masterjob")

STORED = "i.incarnation"
"""The name that was stored last, in a statement that reads `master_incarnation` as ``i``: it never changes.

For a server that has no name.
"""

# The timeline is that of the WAL being written: the control file has the new one only after the next checkpoint.
# As a sub-query it is computed once for a statement. A standby has no name.
_POSTGRESQL = """(
    SELECT CASE WHEN NOT pg_is_in_recovery()
                THEN system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) END
    FROM pg_control_system())"""

# Replicas must have different server ids. @@server_uid is a hash of a network address and the port: containers on
# different hosts may have the same one, and a container that is started anew may have another one.
# The nodes of a Galera cluster have different ids, but share one history, which has a UUID. A node that belongs to
# no cluster at the moment has zeros.
_MARIADB = """(
    SELECT CONVERT(CASE VARIABLE_VALUE
        WHEN '' THEN CONCAT(@@global.server_id, '/', @@hostname)
        WHEN '00000000-0000-0000-0000-000000000000' THEN NULL ELSE VARIABLE_VALUE END USING utf8mb4)
    FROM (SELECT COALESCE(MAX(VARIABLE_VALUE), '') AS VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS
          WHERE VARIABLE_NAME = 'WSREP_CLUSTER_STATE_UUID') AS galera) COLLATE utf8mb4_bin"""

_MYSQL = "CONVERT(@@server_uuid USING utf8mb4) COLLATE utf8mb4_bin"

_REFUSED = ("42", "0A", "55")
"""Classes of SQLSTATE: no right, no such function, not supported, not now."""

_postgresql_servers: dict[str, bool] = {}
"""Whether the servers of a URL have told their name; False if they refused it."""


def incarnation_sql(connection: Connection, url: str) -> str:
    """Return the SQL for the name of the server's history. ``url`` names the database, without passwords."""
    if connection.dialect.name == "sqlite":
        return STORED  # one file, which is never promoted
    if connection.dialect.name == "mysql":
        return _MARIADB if getattr(connection.dialect, "is_mariadb", False) else _MYSQL
    return _POSTGRESQL if _postgresql_servers.get(url) or _is_told(connection, url) else STORED


def _is_told(connection: Connection, url: str) -> bool:
    """Ask the server; some managed ones and some proxies do not let everybody read it."""
    try:
        connection.execute(text(f"SELECT {_POSTGRESQL}"))
    except DBAPIError as error:
        if not (isinstance(error.orig, psycopg.Error) and (error.orig.sqlstate or "").startswith(_REFUSED)):
            raise
        if url not in _postgresql_servers:
            _postgresql_servers[url] = False
            logger.warning(
                "the database does not say which history of commits it is in, so two masters may run for up to a "
                "lease after a failover that lost commits: %s (%s)",
                str(error.orig).strip().splitlines()[0],
                url,
            )
        return False
    _postgresql_servers[url] = True
    return True
