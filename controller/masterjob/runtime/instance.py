"""One instance: the locks that this process competes for on one database."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.config.location import DatabaseLocation
from masterjob.config.settings import Settings
from masterjob.election.core.events import Declare, Withdraw
from masterjob.election.observers import Observer
from masterjob.election.ports import Job
from masterjob.election.runner import ElectionRunner
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.lock_status import LockStatus
from masterjob.runtime.identity import new_identity
from masterjob.runtime.job_status_recorder import JobStatusRecorder
from masterjob.runtime.shutdown import OBSERVER_TIMEOUT, RUN_STATUS_TIMEOUT
from masterjob.store.connection.outages import OutageLog
from masterjob.store.database import Database


@dataclass(eq=False, slots=True)
class OpenLock:
    """A lock of an instance, from its opening until it is closed."""

    lock_name: str
    loop: asyncio.AbstractEventLoop | None
    closing: bool = False


class Instance:
    """The locks that this process competes for on one database, and the election runner that does so."""

    def __init__(
        self,
        location: DatabaseLocation,
        on_shutdown: Callable[["Instance"], None],
        observers: list[Observer],
        outages: OutageLog | None = None,
    ) -> None:
        self.location = location
        self.database = Database(location, outages)
        identity = new_identity(os.environ)
        self._recorder = JobStatusRecorder(identity.instance, self.database)
        self.observers = [self._recorder.observe, *observers]
        self.runner = ElectionRunner(identity, self.database, self.database.fence, self.observers)
        self.max_stop_timeout = 0.0
        self._on_shutdown = on_shutdown
        self._open_locks: dict[str, OpenLock] = {}
        self._lock = threading.Lock()
        self._shutting_down = self._started = False

    def open_lock(self, name: str, job: Job, settings: Settings, job_name: str = "") -> bool:
        """Compete for a lock; return False if this instance is shutting down: the caller needs a new one.

        ``job_name`` is for people; it is empty for a job of the library.
        """
        open_lock = OpenLock(name, running_loop())
        with self._lock:
            if self._shutting_down or self.runner.is_closed:
                return False
            if self._is_open(name):
                raise SettingError(f"lock {name} was already started in this process: close that one first")
            self._open_locks[name] = open_lock
            self._recorder.set_job_name(name, job_name)
            self.runner.set_job(name, job)
            self.update_settings(name, settings)  # under the lock: a Declare after the Shutdown would outlast it
            if not self._started:  # with its first lock, so that an outage can name it
                self._started = True
                self.runner.start()
        return True

    def _is_open(self, name: str) -> bool:
        """Return whether the lock is in use. A close that timed out counts as done once the lock is released."""
        open_lock = self._open_locks.get(name)
        return open_lock is not None and not (open_lock.closing and self.runner.wait_withdrawn(name, 0.0))

    def open_lock_names(self) -> list[str]:
        """Return the names of the locks that are not closed."""
        return list(self._open_locks)

    def get_open_lock(self, name: str) -> OpenLock:
        """Return the lock that was opened last under this name."""
        return self._open_locks[name]

    def update_settings(self, name: str, settings: Settings) -> None:
        """Apply new settings to an open lock; a master stays master."""
        self.max_stop_timeout = max(self.max_stop_timeout, settings.timing.stop_timeout)
        self.runner.submit(Declare(name, settings.timing, settings.lost_policy, settings.init_delay))

    def rename_job(self, name: str, job_name: str) -> None:
        """Set the name of the job that the next term of an open lock runs."""
        self._recorder.set_job_name(name, job_name)

    def withdraw(self, name: str, reason: str) -> None:
        """Stop the job and release the lock, without waiting. The lock may be opened again with the same job."""
        with self._lock:
            self._open_locks.pop(name, None)
        self.runner.submit(Withdraw(name, reason))

    def close(self, open_lock: OpenLock, timeout: float) -> bool:
        """Stop and release a lock, and shut down with the last one; return False after ``timeout`` seconds.

        The caller may call it again to wait longer.
        """
        with self._lock:
            if self._open_locks.get(open_lock.lock_name) is not open_lock:
                return True  # closed before; the lock may have been opened again since
            open_lock.closing = True
        self.runner.submit(Withdraw(open_lock.lock_name, "closed"))
        if not self.runner.wait_withdrawn(open_lock.lock_name, timeout):
            return False
        with self._lock:
            if self._open_locks.get(open_lock.lock_name) is open_lock:
                del self._open_locks[open_lock.lock_name]
            is_last = not self._open_locks
            self._shutting_down = self._shutting_down or is_last
        return self.shutdown("closed", timeout) if is_last else True

    def shutdown(self, reason: str, timeout: float) -> bool:
        """Stop and release everything, for good; return False if ``timeout`` seconds were not enough."""
        with self._lock:
            self._shutting_down = True
        self._on_shutdown(self)
        self._recorder.wait_for_completions(RUN_STATUS_TIMEOUT)
        stopped = self.runner.shutdown(reason, timeout)
        if stopped and timeout:
            self.runner.wait_for_observers(OBSERVER_TIMEOUT)
            self._recorder.close(RUN_STATUS_TIMEOUT)
        return stopped

    def after_fork_in_child(self) -> None:
        """Close this instance in a forked child: it has none of the threads, and one of them may hold a lock."""
        self.runner.after_fork_in_child()
        self._recorder = JobStatusRecorder(self.runner.identity.instance, self.database)

    def is_on_job_loop(self) -> bool:
        """Return whether the caller runs on an event loop that a job may need to stop."""
        current_loop = running_loop()
        return current_loop is not None and any(
            open_lock.loop is current_loop for open_lock in list(self._open_locks.values())
        )

    def explain(self, name: str) -> str:
        """Return one sentence on the lock: from the elector, or from the database while this instance waits."""
        explanation = self.runner.explain(name)
        if not self.runner.is_waiting(name):
            return explanation
        try:
            statuses = self.database.lock_admin().status(name)
        except StoreUnavailable:
            return f"{explanation}; the database gave no answer"
        return explain_waiting(statuses[0]) if statuses else explanation


def explain_waiting(lock: LockStatus) -> str:
    """Return one sentence on a lock that this instance waits for: who is master, and why its job does not run."""
    if not lock.enabled:
        return lock.why
    if lock.master is None or not lock.master.alive:
        return f"waiting: {lock.why}"
    master = f"waiting: {lock.master.instance} is master (term {lock.term})"
    return f"{master}; {lock.why}" if lock.why else master


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that the caller runs on, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
