"""Accounts of the database servers, with a password and with nothing but what they are granted."""

import itertools

import psycopg
import pymysql
from sqlalchemy import make_url

from tests.servers import MariaDB, MySQL, PostgreSQL, Server
from tests.servers.postgresql import PASSWORD_GROUP

_numbers = itertools.count(1)


class Account:
    """An account on one database of a server."""

    def __init__(self, server: Server, database_url: str) -> None:
        assert isinstance(server, PostgreSQL | MariaDB)
        self._server = server
        self._url = make_url(database_url)
        self.name = f"account{next(_numbers)}"
        self.password = "first"
        if isinstance(server, PostgreSQL):
            self._execute(
                f"DO $$ BEGIN CREATE ROLE {PASSWORD_GROUP}; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
                f"CREATE ROLE {self.name} LOGIN PASSWORD 'first' IN ROLE {PASSWORD_GROUP}",
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC",  # the default since PostgreSQL 15
            )
        else:
            self._execute(f"CREATE USER {self.name}@'127.0.0.1' IDENTIFIED BY 'first'")

    @property
    def is_postgresql(self) -> bool:
        return isinstance(self._server, PostgreSQL)

    @property
    def url(self) -> str:
        url = self._url.set(username=self.name, password=self.password)
        if not self.is_postgresql and not isinstance(self._server, MySQL):  # which needs TLS for a password
            url = url.update_query_dict({"ssl-mode": "DISABLED"})  # to load certificates takes long
        return url.render_as_string(hide_password=False)

    def change_password(self, password: str) -> None:
        """Change it, and end the connections that were made with the old one."""
        self.password = password
        if self.is_postgresql:
            self._execute(
                f"ALTER ROLE {self.name} PASSWORD '{password}'",
                f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{self.name}'",
            )
        else:
            self._execute(f"ALTER USER {self.name}@'127.0.0.1' IDENTIFIED BY '{password}'")
            connections = self._server.execute(
                f"SELECT GROUP_CONCAT(id) FROM information_schema.processlist WHERE user = '{self.name}'"
            )
            self._execute(*(f"KILL {number}" for number in str(connections).split(",")))

    def run(self, *statements: str) -> None:
        """Run statements in this database as its owner; they call this account ``app``."""
        account = self.name if self.is_postgresql else f"{self.name}@'127.0.0.1'"
        self._execute(*(each.replace("app", account) for each in statements))

    def _execute(self, *statements: str) -> None:
        if self.is_postgresql:
            with psycopg.connect(self._url.render_as_string(hide_password=False), autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
            return
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self._url.port or 0,
                user="root",
                database=self._url.database,
                ssl_disabled=True,
            ) as mysql_connection,
            mysql_connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
