"""An instance: the part of this process in the election on one database."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(eq=False, slots=True)
class Part:
    """The part of an instance in one lock, from its opening to the end of its closing."""

    lock_name: str
    loop: asyncio.AbstractEventLoop | None
    closing: bool = False


class Instance:
    """The part of this process in the election on one database."""

    def __init__(self, url: str, begins_to_leave: Callable[["Instance"], None], observers: list[Observer]) -> None:
        self.url = url
        self.database = Database(url)
        self.driver = Driver(identity(os.environ), self.database, self.database.fence, observers)
        self.longest_stop = 0.0
        self.observers = observers
        self._begins_to_leave = begins_to_leave
        self._parts: dict[str, Part] = {}
        self._lock = threading.Lock()
        self._leaving = False

    def open_lock(self, name: str, job: Job, settings: Settings) -> bool:
        """Take part in the election for this lock; False if this instance is leaving, so that it takes another."""
        part = Part(name, running_loop())
        with self._lock:
            if self._leaving or self.driver.over:
                return False
            if self._is_open(name):
                raise SettingError(f"lock {name} was already started in this process: close that one first")
            self._parts[name] = part
            self.driver.run_job(name, job)
            self.retime(name, settings)  # under the lock: told after a Leave, it would outlast it
        return True

    def _is_open(self, name: str) -> bool:
        """Whether the lock is taken part in; who has closed it may have given up waiting for the end."""
        part = self._parts.get(name)
        return part is not None and not (part.closing and self.driver.wait_gone(name, 0.0))

    def part_in(self, name: str) -> Part:
        """Return the part in a lock that was just opened, to be closed some day."""
        return self._parts[name]

    def retime(self, name: str, settings: Settings) -> None:
        """Have these settings in effect for a lock that was opened; a master stays master."""
        self.longest_stop = max(self.longest_stop, settings.timing.stop_timeout)
        self.driver.tell(Declare(name, settings.timing, settings.lost_policy, settings.init_delay))

    def withdraw(self, name: str, why: str) -> None:
        """Have the lock stopped and released, without waiting; it may be opened again, with the same job."""
        with self._lock:
            self._parts.pop(name, None)
        self.driver.tell(Withdraw(name, why))

    def close(self, part: Part, timeout: float) -> bool:
        """Stop and release a lock, and leave for good with the last one; False if that is not done by then.

        It may be called again, to go on waiting.
        """
        with self._lock:
            if self._parts.get(part.lock_name) is not part:
                return True  # closed before; the lock may have been opened again since
            part.closing = True
        self.driver.tell(Withdraw(part.lock_name, "closed"))
        if not self.driver.wait_gone(part.lock_name, timeout):
            return False
        with self._lock:
            if self._parts.get(part.lock_name) is part:
                del self._parts[part.lock_name]
            last = not self._parts
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
        return here is not None and any(part.loop is here for part in list(self._parts.values()))

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
