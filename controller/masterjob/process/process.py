"""A process: everything that takes part in it, and its own end.

The order of the end is the same however it comes (SIGTERM, the interpreter's exit, a handle that is closed): jobs
are stopped, then locks released, then the session and the threads end; so another instance takes over within
milliseconds.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable
from typing import Protocol

from masterjob.election.observing import Observer
from masterjob.election.ports import Job
from masterjob.jobs.crew import Crew
from masterjob.process.instance import GRACE, Instance
from masterjob.process.sigterm import Sigterm, SigtermHeld
from masterjob.settings import Settings
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")


class Attendant(Protocol):
    """Who has something to do at the end of a process. No method takes more than a few seconds."""

    def before_the_end(self) -> None:
        """Change nothing any more: jobs are about to be stopped, and locks released."""

    def after_the_end(self) -> None:
        """Say what there is to say of that."""


class Process:
    """Everything that takes part in this process, and the process's own end."""

    def __init__(self) -> None:
        self._closes_at_exit = False
        self._begin()
        held = SigtermHeld()
        os.register_at_fork(before=held.begin, after_in_parent=held.end, after_in_child=self._after_fork)
        os.register_at_fork(after_in_child=held.end)  # whatever becomes of that

    def _begin(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._leaving: list[Instance] = []
        self._observers: list[tuple[str | None, Observer]] = []
        self._attendants: list[Attendant] = []
        self._lock = threading.RLock()
        self.crew = Crew()
        self._sigterm = Sigterm(self.close_all)

    def _after_fork(self) -> None:
        """Be nobody in a forked child, which has none of our threads: it is no instance until it becomes one."""
        for instance in [*self._instances.values(), *self._leaving]:
            instance.driver.forked()
        self._sigterm.forked()
        self._begin()

    def handle_sigterm(self) -> None:
        """Close on SIGTERM too; only the main thread can set that up, and an ignored signal stays ignored."""
        self._sigterm.handle()

    def open_lock(self, name: str, job: Job, settings: Settings) -> Instance:
        """Take part in the election for this lock with the instance of its database."""
        while not (instance := self._instance_of(settings.database)).open_lock(name, job, settings):
            self._begins_to_leave(instance)
        return instance

    def observe(self, observer: Observer, url: str | None = None) -> None:
        """Have every instance be seen by ``observer``, or those on one database, on a thread of their own."""
        with self._lock:
            self._observers.append((url, observer))
            for instance in self._instances.values():
                if url in (None, instance.url):
                    instance.observers.append(observer)

    def instances(self) -> list[Instance]:
        """Return what takes part now, one for each database."""
        with self._lock:
            return list(self._instances.values())

    def _instance_of(self, url: str) -> Instance:
        with self._lock:
            if url not in self._instances:
                observers = [each for of, each in self._observers if of in (None, url)]
                instance = Instance(url, self._begins_to_leave, observers)
                self._instances[url] = instance
                instance.driver.start()
            if not self._closes_at_exit:
                self._closes_at_exit = True
                atexit.register(self.close_all, "the interpreter exits")
            return self._instances[url]

    def _begins_to_leave(self, instance: Instance) -> None:
        """Give it no more locks; but whoever ends the process waits for it too."""
        with self._lock:
            if self._instances.get(instance.url) is instance:
                del self._instances[instance.url]
            self._leaving = [each for each in self._leaving if not each.driver.over and each is not instance]
            self._leaving.append(instance)

    def only_database(self) -> Database | None:
        """The database that this process takes part on, if it is just one."""
        with self._lock:
            running = list(self._instances.values())
            return running[0].database if len(running) == 1 else None

    def attend(self, attendant: Attendant) -> None:
        """Have ``attendant`` told of the end of this process, before and after its jobs are stopped."""
        with self._lock:
            self._attendants.append(attendant)

    def close_all(self, why: str) -> bool:
        """Stop every job and release every lock of this process; False if something goes on all the same."""
        with self._lock:
            attendants, self._attendants = self._attendants, []
        for each in attendants:
            _let(each.before_the_end)
        done = self._stop_all(why)
        for each in attendants:
            _let(each.after_the_end)
        return done

    def _stop_all(self, why: str) -> bool:
        with self._lock:
            instances = [*self._instances.values(), *self._leaving]
        for instance in instances:  # all at once, so that a database that hangs holds up no other
            instance.leave(why, 0.0)
        done = [instance.leave(why, instance.longest_stop + GRACE) for instance in instances]
        if not all(done):
            logger.warning("not everything has stopped; its locks stay taken until their leases end")
        return all(done)


def _let(attend: Callable[[], None]) -> None:
    """Nothing that fails at the end may keep jobs and locks from it."""
    try:
        attend()
    except Exception:
        logger.exception("a defect at the end of the process, which goes on")
