"""Real database servers for the tests: the installed ones, and those of newer releases of Debian.

Each starts at most once in a test run, on a free loopback port and with a temporary data directory, apart from the
services of the machine.
"""

from tests.servers.external import URL as EXTERNAL_URL
from tests.servers.external import ExternalServer
from tests.servers.mariadb import MariaDB, MariaDB118, MariaDBPrimary, MariaDBReplica
from tests.servers.mysql import MySQL
from tests.servers.pgbouncer import PgBouncer, SessionPgBouncer
from tests.servers.postgresql import PostgreSQL, PostgreSQL17, PostgreSQL18, PostgreSQLStandby
from tests.servers.process import Server, Unavailable
from tests.servers.unpacked import NotUnpacked

SERVERS: dict[str, type[Server]] = {
    "postgresql": PostgreSQL,
    "postgresql-17": PostgreSQL17,
    "postgresql-18": PostgreSQL18,
    "mariadb": MariaDB,
    "mariadb-11.8": MariaDB118,
    "mysql": MySQL,
    "pgbouncer": PgBouncer,
    "pgbouncer-session": SessionPgBouncer,
    "external": ExternalServer,
}
"""By the name that the parameters of tests have."""

OTHER_RELEASES = ("postgresql-17", "postgresql-18", "mariadb-11.8", *(["external"] if EXTERNAL_URL else []))
"""The servers on which only the store's contract and a hand-over are tested."""

__all__ = [
    "OTHER_RELEASES",
    "SERVERS",
    "MariaDB",
    "MariaDBPrimary",
    "MariaDBReplica",
    "MySQL",
    "NotUnpacked",
    "PgBouncer",
    "PostgreSQL",
    "PostgreSQLStandby",
    "Server",
    "Unavailable",
]
