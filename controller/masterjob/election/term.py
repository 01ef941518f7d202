"""A term as its job sees it: a number, two checks, and a way to wait for its end."""

import threading
from collections.abc import Callable
from typing import Protocol

from masterjob.election.values import Term
from masterjob.errors import TermLost


class Fence(Protocol):
    """The check inside the job's own transaction; the store implements it."""

    def __call__(self, connection: object, term: Term) -> None:
        """Lock the row of a held term until the transaction ends; raise `TermLost` if it is not held."""


class LiveTerm:
    """A current term, passed to the job's ``start``.

    ``number`` is the fencing token: a resource should refuse a number that is smaller than one it has seen.
    """

    def __init__(self, term: Term, trust_left: Callable[[], float], fence: Fence) -> None:
        self._term = term
        self._trust_left = trust_left
        self._fence = fence
        self._ending = threading.Event()

    @property
    def lock_name(self) -> str:
        """The lock's name."""
        return self._term.lock_name

    @property
    def number(self) -> int:
        """The term's number; larger than that of every earlier term of this lock."""
        return self._term.number

    @property
    def trust_left(self) -> float:
        """Seconds for which the term lasts without another heartbeat; 0 if it is over."""
        return 0.0 if self._ending.is_set() else max(0.0, self._trust_left())

    def raise_if_lost(self) -> None:
        """Raise `TermLost` if the term is over.

        This reads the clock, so it is right even immediately after the process was paused.

        Raises:
            TermLost: the term is over.

        """
        if self.trust_left <= 0:
            raise TermLost(f"term {self.number} of {self.lock_name} is over")

    def guard(self, connection: object) -> None:
        """Make sure that the transaction on ``connection`` commits only while this term holds its lock.

        Call it as the last statement before COMMIT, on the database that the election uses. Until the transaction
        ends, no other instance can become master.

        Args:
            connection: an SQLAlchemy Connection or Session, or a connection of psycopg, PyMySQL, mysqlclient or
                sqlite3.

        Raises:
            TermLost: the term is over. Roll the transaction back.

        """
        self._fence(connection, self._term)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the term ends, at most ``timeout`` seconds; return whether it has ended."""
        return self._ending.wait(timeout)

    def end(self) -> None:
        """Mark the term as over. For internal use; a job need not call it."""
        self._ending.set()

    def after_fork_in_child(self) -> None:
        """Mark the term as over in a forked child, in which nothing would learn of its end. For internal use."""
        self._ending = threading.Event()  # the old one may be locked by a thread that is not here
        self._ending.set()

    def __repr__(self) -> str:
        return f"<term {self.number} of {self.lock_name}>"
