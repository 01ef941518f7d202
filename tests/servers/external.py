"""A server that somebody else has started, such as a service container: ``MASTERJOB_TEST_SERVER`` is its URL.

With it, the tests of the store's contract and a hand-over run on this server too.
"""

import os
from collections.abc import Callable
from typing import Any

import psycopg
import pymysql
from sqlalchemy import make_url

from tests.servers.process import Server, Unavailable

URL = os.environ.get("MASTERJOB_TEST_SERVER", "")


class ExternalServer(Server):
    name = "MASTERJOB_TEST_SERVER"

    def __init__(self) -> None:
        self._url = make_url(URL)
        self._is_postgresql = self._url.drivername.startswith("postgres")

    def start(self) -> None:
        try:
            self.version = str(self._execute("SELECT VERSION()"))
        except (psycopg.Error, pymysql.Error) as error:
            raise Unavailable(str(error)) from error

    def stop(self) -> None:
        """Leave it running, for its owner."""

    def create_database(self) -> str:
        name = f"masterjob_{os.getpid()}_{os.urandom(4).hex()}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def _execute(self, statement: str) -> object:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def _connect(self) -> Any:
        if self._is_postgresql:
            return psycopg.connect(self._url.render_as_string(hide_password=False), autocommit=True)
        connect: Callable[..., Any] = pymysql.connect
        return connect(
            host=self._url.host, port=self._url.port, user=self._url.username, password=self._url.password
        )
