"""The term as a job sees it: a number, two checks, and a way to wait for its end (design 3.6)."""

import threading
from collections.abc import Callable
from typing import Protocol

from masterjob.election.values import Term
from masterjob.errors import TermLost


class Fence(Protocol):
    """The check inside the job's own transaction; the store room has it."""

    def __call__(self, connection: object, term: Term) -> None:
        """Hold the row of a term that is still held until the transaction ends, or raise `TermLost`."""


class LiveTerm:
    """A term while it lasts, given to the job's ``start``.

    ``number`` is the fencing token: whoever can compare numbers should refuse a smaller one than it has seen.
    """

    def __init__(self, term: Term, trust_left: Callable[[], float], fence: Fence) -> None:
        self._term = term
        self._trust_left = trust_left
        self._fence = fence
        self._ending = threading.Event()

    @property
    def lock_name(self) -> str:
        """The lock that this is a term of."""
        return self._term.lock_name

    @property
    def number(self) -> int:
        """The number of this term: larger than that of every term of this lock before."""
        return self._term.number

    @property
    def trust_left(self) -> float:
        """Seconds for which the mastership holds without another heartbeat; 0 when it is over."""
        return 0.0 if self._ending.is_set() else max(0.0, self._trust_left())

    def raise_if_lost(self) -> None:
        """Raise `TermLost` if the term is over or has to end.

        It reads the clock, not a flag, so it is right even in the first moment after a pause.
        """
        if self.trust_left <= 0:
            raise TermLost(f"term {self.number} of {self.lock_name} is over")

    def guard(self, connection: object) -> None:
        """Make the transaction on ``connection`` commit only if this term still holds its lock.

        Call it as the last statement before COMMIT, on the database that the election runs on:
        until the transaction ends, nobody can be made master after this term. ``connection`` is an SQLAlchemy
        Connection or Session, or a connection of psycopg, PyMySQL, mysqlclient or sqlite3.

        Raises:
            TermLost: the term is over; roll back.

        Source: design section 3.6.

        """
        self._fence(connection, self._term)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the term has to end, at most ``timeout`` seconds; return whether it does."""
        return self._ending.wait(timeout)

    def end(self) -> None:
        """Say that the term has to end. The election calls this; a job has no need to."""
        self._ending.set()

    def __repr__(self) -> str:
        return f"<term {self.number} of {self.lock_name}>"
