"""An instance: the part of this process in the election on one database."""

import asyncio
import os
import threading
from collections.abc import Callable

from masterjob.election.driver import Driver
from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.election.machine.events import Declare, Withdraw
from masterjob.election.observing import Observer
from masterjob.election.ports import Job
from masterjob.election.views import LockStatus
from masterjob.process.identity import identity
from masterjob.settings import Settings
from masterjob.store.database import Database

GRACE = 5.0
"""Seconds beside the stop timeout that an end may take: for the release, and a database that is slow."""


class Instance:
    """The part of this process in the election on one database."""

    def __init__(self, url: str, begins_to_leave: Callable[["Instance"], None], observers: list[Observer]) -> None:
        self.url = url
        self.database = Database(url)
        self.driver = Driver(identity(os.environ), self.database, self.database.fence, observers)
        self.longest_stop = 0.0
        self.observers = observers
        self._begins_to_leave = begins_to_leave
        self._locks: dict[str, asyncio.AbstractEventLoop | None] = {}
        self._lock = threading.Lock()
        self._leaving = False

    def open_lock(self, name: str, job: Job, settings: Settings) -> bool:
        """Take part in the election for this lock; False if this instance is leaving, so that it takes another."""
        loop = running_loop()
        with self._lock:
            if self._leaving or self.driver.over:
                return False
            if name in self._locks:
                raise SettingError(f"lock {name} was already started in this process: close that one first")
            self._locks[name] = loop
            self.driver.run_job(name, job)
            self.retime(name, settings)  # under the lock: told after a Leave, it would outlast it
        return True

    def retime(self, name: str, settings: Settings) -> None:
        """Have these settings in effect for a lock that was opened; a master stays master."""
        self.longest_stop = max(self.longest_stop, settings.timing.stop_timeout)
        self.driver.tell(Declare(name, settings.timing, settings.lost_policy, settings.init_delay))

    def withdraw(self, name: str, why: str) -> None:
        """Have the lock stopped and released, without waiting; it may be opened again, with the same job."""
        with self._lock:
            self._locks.pop(name, None)
        self.driver.tell(Withdraw(name, why))

    def close_lock(self, name: str, timeout: float) -> bool:
        """Stop and release the lock, and leave for good with the last one; False if that is not done by then."""
        self.driver.tell(Withdraw(name, "closed"))
        if not self.driver.wait_gone(name, timeout):
            return False
        with self._lock:
            self._locks.pop(name, None)
            last = not self._locks
            self._leaving = self._leaving or last
        return self.leave("closed", timeout) if last else True

    def leave(self, why: str, timeout: float) -> bool:
        """Stop and release everything, and take no more part; False if that is not done by then."""
        with self._lock:
            self._leaving = True
        self._begins_to_leave(self)
        return self.driver.leave(why, timeout)

    def loop_is_here(self) -> bool:
        """Whether the caller stands on an event loop that a job may need to stop."""
        here = running_loop()
        return here is not None and here in self._locks.values()

    def why(self, name: str) -> str:
        """What the elector says; what it cannot know about somebody else's lock, the database does."""
        words = self.driver.why(name)
        if not self.driver.waits(name):
            return words
        try:
            found = self.database.switchboard().status(name)
        except StoreUnavailable:
            return f"{words}; the database gave no answer"
        return _why_not(found[0]) if found else words


def _why_not(lock: LockStatus) -> str:
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
