"""The database as the election needs it. The store room implements it; a contract test suite holds every
implementation, the simulator's included, to the same sentences (design 3.2).

Every verb is one autocommit statement whose affected rows are the answer; reads that only inform may
stand beside it. Every verb raises `StoreUnavailable` when the outcome is not known.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from masterjob.election.term import LiveTerm
from masterjob.election.values import HeldTerm, HistoryEntry, Inventory, NewSession, SessionList, Term, Vacancies


class SessionStore(Protocol):
    """Who is alive."""

    def open_session(self, session: NewSession) -> None:
        """Write the session with its first heartbeat, at the database's clock."""

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        """Beat once more; return what the instance holds, or None where the session was evicted."""

    def list_sessions(self) -> SessionList:
        """Read all sessions and the database's clock."""

    def evict(self, session_id: str, beat: int, *, if_stale: bool) -> tuple[Term, ...] | None:
        """Remove the session if it still stands at ``beat`` (and, with ``if_stale``, is over its own lease by
        the database's clock). Return the terms that this ended, or None where it was not removed by us.
        """

    def close_session(self, session_id: str) -> None:
        """Remove our own session; whatever it still holds becomes free."""


class LockStore(Protocol):
    """Who holds what."""

    def ensure_locks(self, lock_names: Sequence[str]) -> None:
        """Write the rows of these locks where there are none yet, enabled unless a switch says otherwise."""

    def list_vacancies(self) -> Vacancies:
        """End the timed disables that are due, then read which locks are enabled and free."""

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        """Take those of ``lock_names`` that are enabled and free; return all of them that the session holds now.

        Term numbers are the larger of the last one plus one and the database's clock in epoch milliseconds.
        An evicted session gets none.
        """

    def move(self, term: Term, from_session_id: str, to_session_id: str) -> str | None:
        """Hand the held term from session ``from_session_id`` to ``to_session_id``; return which session holds
        it now, if any.
        """

    def release(self, session_ids: Sequence[str], terms: Sequence[Term]) -> None:
        """Free these locks where one of the sessions holds just this term; tell the others."""

    def read_inventory(self, instance: str) -> Inventory:
        """Read what the sessions of the instance hold, in short, and which of it is flagged."""

    def list_held_terms(self, instance: str) -> tuple[HeldTerm, ...]:
        """Read what the sessions of the instance hold, in full."""

    def request_step_down(self, term: Term, actor: str, reason: str) -> bool:
        """Ask exactly this term to step down; tell its master. Return whether it was held."""

    def append_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Add lines to the history."""


class Store(SessionStore, LockStore, Protocol):
    """One connection to the database, used by one thread at a time."""

    def close(self) -> None:
        """Give the connection back."""

    def abort(self) -> None:
        """Make a call that hangs in another thread fail; called when nobody waits for it any more."""


class ChangeNotifier(Protocol):
    """Listens for hints that something changed, on a thread of its own (design 3.5)."""

    def start(self) -> None:
        """Begin to listen."""

    def close(self) -> None:
        """Stop listening."""


class ElectionDatabase(Protocol):
    """Where connections come from."""

    def prepare(self) -> None:
        """Create or upgrade the tables; any number of instances may do so at once."""

    def connect(self, timeout: float) -> Store:
        """Return a store whose every call ends within about ``timeout`` seconds, one way or the other."""

    def create_notifier(self, on_change: Callable[[frozenset[str] | None], None]) -> ChangeNotifier:
        """Return a listener that names the locks to look at, or None for all; hints, never the truth."""


class Report(Protocol):
    """Where a job tells how its run goes. May be called from any thread; never blocks."""

    def started(self) -> None:
        """``start`` has returned."""

    def start_failed(self, error: BaseException) -> None:
        """``start`` has raised; ``stop`` is still expected to be asked for."""

    def stopped(self) -> None:
        """``stop`` has returned, ``start`` has too, and nothing of this run is going on any more."""


class Job(Protocol):
    """What the master of one lock runs. No method may block, or run user code in the caller's thread.

    A run is one ``start`` and one ``stop``; the next ``start`` comes only after ``stopped`` was reported.
    """

    def start(self, term: LiveTerm, report: Report) -> None:
        """Begin a run. Where the term is already lost, or `stop` was called before, nothing is started."""

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Have a stop take so long at most, that of the run under way and of those to come."""

    def stop(self) -> None:
        """End the run that was begun last. Called again for the same run, it does nothing."""
