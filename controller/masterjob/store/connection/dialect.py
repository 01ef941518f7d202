"""What differs between the databases, so that every operation can be written as one SQL statement.

A statement is written once, with placeholders such as ``{now_ms}`` for what differs; `Dialect.sql` replaces
them. All arithmetic uses ``{now_ms}``, the epoch in milliseconds by the database's clock at the statement.
``{now}`` is the same moment as a timestamp, for people who read the tables; ``{ago}`` is that many microseconds
earlier as the parameter ``:age_us`` says. ``{incarnation}`` is the server's name for its history of commits.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, TextClause, bindparam, text

from masterjob.store.connection.incarnation import STORED

IDLE_TRANSACTION_TIMEOUT = 3
"""Seconds until the server ends a transaction whose client is silent: the longest that it can block others."""

SERVER_TIMEOUT_FRACTION = 0.8
"""The server's timeout as a fraction of the client's: a call that the client gave up must not be done later."""

APPLICATION_NAME = "masterjob"


class Dialect:
    """What all databases have in common. A subclass adds what is special to one."""

    name: str
    driver: str
    is_remote = True
    """Whether there is a network in between: a call can then hang, and can be aborted through its socket."""
    supports_notify = False
    supports_writable_cte = False
    begin_statements: tuple[str, ...]
    commit_statements: tuple[str, ...] = ("COMMIT",)
    fragments: ClassVar[Mapping[str, str]]

    @lru_cache(maxsize=256)  # noqa: B019 - the dialects live as long as the process
    def sql(
        self, statement: str, list_parameters: frozenset[str] = frozenset(), incarnation: str = STORED
    ) -> TextClause:
        """Return ``statement`` in this dialect; each of ``list_parameters`` expands into many values.

        ``incarnation``: the SQL with which the server names its history.
        """
        clause = text(statement.format_map({**self.fragments, "incarnation": incarnation}))
        return clause.bindparams(*(bindparam(name, expanding=True) for name in sorted(list_parameters)))

    def connect_arguments(self, url: URL, timeout: float) -> dict[str, Any]:
        """Return the arguments for the driver's connect."""
        raise NotImplementedError

    def file_path(self, url: URL) -> str | None:
        """Return the path of the database's file, or None if it has no file."""
        return None

    def configure_session(self, connection: Connection, timeout: float) -> bool:
        """Set the timeouts and modes of a new connection.

        Return whether its session is ours alone. If a pooler lends it to others too, nothing is set.
        """
        raise NotImplementedError

    def begin(self, timeout: float, *, is_shared: bool) -> tuple[str, ...]:
        """Return the statements that begin a transaction, on a session of our own or on a pooler's."""
        return self.begin_statements

    def socket_fd(self, raw: Any) -> int | None:
        """Return the file descriptor of the driver's socket, or None if it is unknown."""
        return int(raw.fileno())
