"""Real database servers for the tests, from the installed programs. Each starts at most once in a test run, on a
free loopback port and with a temporary data directory, apart from the services of the machine."""

from tests.servers.mariadb import MariaDB, MariaDBPrimary, MariaDBReplica
from tests.servers.postgresql import PostgreSQL, PostgreSQLStandby
from tests.servers.process import Server, Unavailable

__all__ = [
    "MariaDB",
    "MariaDBPrimary",
    "MariaDBReplica",
    "PostgreSQL",
    "PostgreSQLStandby",
    "Server",
    "Unavailable",
]
