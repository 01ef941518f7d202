"""Real database servers, thrown away afterwards: on free ports of the loopback, with their data in a
temporary directory, started at most once a test run from what is installed, apart from any service of the
machine."""

from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.process import Server, Unavailable

__all__ = ["MariaDB", "PostgreSQL", "Server", "Unavailable"]
