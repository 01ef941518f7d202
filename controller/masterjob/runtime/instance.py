"""An instance: the part of this process in the election on one database."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.config.settings import Settings
from masterjob.election.core.events import Declare, Withdraw
from masterjob.election.observers import Observer
from masterjob.election.ports import Job
from masterjob.election.runner import ElectionRunner
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.lock_status import LockStatus
from masterjob.runtime.identity import current_identity
from masterjob.store.database import Database

SHUTDOWN_GRACE = 5.0
"""Seconds beside the stop timeout that an end may take: for the release, and a database that is slow."""


@dataclass(eq=False, slots=True)
class OpenLock:
    """The part of an instance in one lock, from its opening to the end of its closing."""

    lock_name: str
    loop: asyncio.AbstractEventLoop | None
    closing: bool = False


class Instance:
    """The part of this process in the election on one database."""

    def __init__(self, url: str, on_shutdown: Callable[["Instance"], None], observers: list[Observer]) -> None:
        self.url = url
        self.database = Database(url)
        self.runner = ElectionRunner(current_identity(os.environ), self.database, self.database.fence, observers)
        self.max_stop_timeout = 0.0
        self.observers = observers
        self._on_shutdown = on_shutdown
        self._open_locks: dict[str, OpenLock] = {}
        self._lock = threading.Lock()
        self._shutting_down = False

    def open_lock(self, name: str, job: Job, settings: Settings) -> bool:
        """Take part in the election for this lock; False if this instance is leaving, so that it takes another."""
        open_lock = OpenLock(name, running_loop())
        with self._lock:
            if self._shutting_down or self.runner.is_closed:
                return False
            if self._is_open(name):
                raise SettingError(f"lock {name} was already started in this process: close that one first")
            self._open_locks[name] = open_lock
            self.runner.set_job(name, job)
            self.update_settings(name, settings)  # under the lock: told after a Leave, it would outlast it
        return True

    def _is_open(self, name: str) -> bool:
        """Whether the lock is taken part in; who has closed it may have given up waiting for the end."""
        open_lock = self._open_locks.get(name)
        return open_lock is not None and not (open_lock.closing and self.runner.wait_withdrawn(name, 0.0))

    def get_open_lock(self, name: str) -> OpenLock:
        """Return the part in a lock that was just opened, to be closed some day."""
        return self._open_locks[name]

    def update_settings(self, name: str, settings: Settings) -> None:
        """Have these settings in effect for a lock that was opened; a master stays master."""
        self.max_stop_timeout = max(self.max_stop_timeout, settings.timing.stop_timeout)
        self.runner.submit(Declare(name, settings.timing, settings.lost_policy, settings.init_delay))

    def withdraw(self, name: str, reason: str) -> None:
        """Have the lock stopped and released, without waiting; it may be opened again, with the same job."""
        with self._lock:
            self._open_locks.pop(name, None)
        self.runner.submit(Withdraw(name, reason))

    def close(self, open_lock: OpenLock, timeout: float) -> bool:
        """Stop and release a lock, and leave for good with the last one; False if that is not done by then.

        It may be called again, to go on waiting.
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
        """Stop and release everything, and take no more part; False if that is not done by then."""
        with self._lock:
            self._shutting_down = True
        self._on_shutdown(self)
        return self.runner.shutdown(reason, timeout)

    def is_on_job_loop(self) -> bool:
        """Whether the caller stands on an event loop that a job may need to stop."""
        current_loop = running_loop()
        return current_loop is not None and any(
            open_lock.loop is current_loop for open_lock in list(self._open_locks.values())
        )

    def explain(self, name: str) -> str:
        """What the elector says; what it cannot know about somebody else's lock, the database does."""
        explanation = self.runner.explain(name)
        if not self.runner.is_waiting(name):
            return explanation
        try:
            statuses = self.database.lock_admin().status(name)
        except StoreUnavailable:
            return f"{explanation}; the database gave no answer"
        return _explain_status(statuses[0]) if statuses else explanation


def _explain_status(lock: LockStatus) -> str:
    if lock.disabled is not None:
        return f"disabled by {lock.disabled.by}: {lock.disabled.reason}"
    if lock.master is not None:
        return f"waiting: {lock.master.instance} is master (term {lock.term})"
    return "waiting: the lock is free and about to be claimed"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that the caller stands on, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
