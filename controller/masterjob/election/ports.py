"""The interfaces of the election to the database and to jobs.

One contract test suite runs against every implementation of the store, including that of the simulator.

Each method of the store is one autocommit statement, and the affected rows are its answer; only reads may take
several. Each raises `StoreUnavailable` if the outcome is unknown.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from masterjob.election.term import LiveTerm
from masterjob.election.values import (
    HeldTerm,
    HistoryEntry,
    Incarnation,
    Inventory,
    NewSession,
    SessionList,
    Term,
    Vacancies,
)
from masterjob.job_status import RunStatus


class SessionStore(Protocol):
    """The sessions."""

    def open_session(self, session: NewSession) -> None:
        """Insert the session with its first heartbeat, at the database's clock."""

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        """Record a heartbeat; return what the instance holds, or None if the session was evicted."""

    def list_sessions(self) -> SessionList:
        """Return all sessions and the database's clock."""

    def evict(
        self, session_id: str, beat: int, *, if_stale: bool, incarnation: Incarnation | None = None
    ) -> tuple[Term, ...] | None:
        """Delete the session if its beat is still ``beat`` and, with ``if_stale``, its lease is over.

        That test uses the database's clock. Nothing is deleted in a quarantine, or if the database is not that
        ``incarnation`` any more. Return the terms that this ended, or None if nothing was deleted.
        """

    def close_session(self, session_id: str) -> None:
        """Delete one of our sessions; the locks that it still holds become free."""


class LockStore(Protocol):
    """The locks."""

    def ensure_locks(self, lock_names: Sequence[str]) -> None:
        """Insert the rows of these locks that do not exist, enabled unless a switch says otherwise."""

    def list_vacancies(self) -> Vacancies:
        """End the timed disables that are due, then return which locks are enabled and free."""

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        """Claim those of the locks that are enabled and free; return all of them that the session holds now.

        A new term's number is the last one plus one, or the database's clock in epoch milliseconds if that is
        larger. An evicted session gets no term, and in a quarantine none gets one.
        """

    def end_quarantine(self, incarnation: Incarnation) -> bool:
        """Allow claims again, if the database is still this incarnation; return whether it is."""

    def move(self, term: Term, from_session_id: str, to_session_id: str) -> str | None:
        """Move a held term between two sessions; return the session that holds it now, if any."""

    def release(self, session_ids: Sequence[str], terms: Sequence[Term]) -> None:
        """Free the locks of which one of the sessions holds exactly this term, and notify other instances."""

    def read_inventory(self, instance: str) -> Inventory:
        """Return in short what the sessions of the instance hold, and the stop requests for it."""

    def list_held_terms(self, instance: str) -> tuple[HeldTerm, ...]:
        """Return in full what the sessions of the instance hold."""

    def request_step_down(self, term: Term, actor: str, reason: str) -> bool:
        """Request exactly this term to step down, and notify its master; return whether it was held."""

    def append_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Add entries to the history, at the times when they happened, by the database's clock."""

    def append_missing_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Add those entries that the history lacks, after an attempt to write them whose outcome is unknown."""


class Store(SessionStore, LockStore, Protocol):
    """One connection to the database, used by one thread at a time."""

    def close(self) -> None:
        """Close the connection."""

    def abort(self) -> None:
        """Make a call that hangs in another thread fail."""


class ChangeNotifier(Protocol):
    """Listens for changes of locks, on a thread of its own."""

    def start(self) -> None:
        """Start to listen."""

    def close(self) -> None:
        """Stop listening."""


class ElectionDatabase(Protocol):
    """Opens connections."""

    def prepare(self) -> None:
        """Create or upgrade the tables; several instances may do so at the same time."""

    def connect(self, timeout: float) -> Store:
        """Return a store whose calls end, with or without success, within about ``timeout`` seconds."""

    def create_notifier(self, on_change: Callable[[frozenset[str] | None], None]) -> ChangeNotifier:
        """Return a notifier that calls ``on_change`` with the names of changed locks, or None for any lock.

        Notifications are hints: they may be late, missing or wrong.
        """


class Report(Protocol):
    """Reports the progress of a run. Its methods never block and may be called from any thread."""

    def started(self) -> None:
        """Report that ``start`` has returned."""

    def start_failed(self, error: BaseException) -> None:
        """Report that ``start`` has raised an error. The job still has to be stopped."""

    def progress(self, run: RunStatus) -> None:
        """Report the status of the run to those who watch it. It influences nothing."""

    def stopped(self) -> None:
        """Report that ``start`` and ``stop`` have returned and the run has ended completely."""


class Job(Protocol):
    """The job that the master of one lock runs. No method may block, or run user code in the caller's thread.

    A run is one ``start`` and one ``stop``. The next ``start`` comes only after ``stopped`` was reported.
    """

    def start(self, term: LiveTerm, report: Report) -> None:
        """Start a run; do nothing if the term is already lost or `stop` was called before."""

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Set how many seconds a stop may take, for the current run and later ones."""

    def stop(self) -> None:
        """Stop the run that was started last; do nothing if it was stopped already."""
