"""A process: its part in the election on each database, and its own end.

The order of the end is the same however it comes (SIGTERM, the interpreter's exit, a handle that is closed): jobs
are stopped, then locks released, then the session and the threads end; so another instance takes over within
milliseconds.
"""

import asyncio
import atexit
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from types import FrameType
from typing import Protocol
from uuid import uuid4

from masterjob.election.driver import Driver
from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.election.machine.events import Declare, Withdraw
from masterjob.election.observing import Observer
from masterjob.election.ports import Job
from masterjob.election.values import Identity
from masterjob.election.views import LockStatus
from masterjob.jobs.crew import Crew
from masterjob.settings import Settings
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")

_HOST_LIMIT = 200
"""Characters of a host's or pod's name in an instance's id, which has 255 at most."""

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
        self._handled_before: signal._HANDLER = None
        self._begin()
        self._mask: set[int] = set()
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._unmask, after_in_child=self._after_fork
        )

    def _begin(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._leaving: list[Instance] = []
        self._observers: list[tuple[str | None, Observer]] = []
        self._attendants: list[Attendant] = []
        self._lock = threading.RLock()
        self.crew = Crew()
        self._signals: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._handles_sigterm = False

    # A forked child has none of our threads: it is no instance until it becomes one, and SIGTERM does there
    # what it did before us. The signal is held back meanwhile, or it could meet a handler that nobody serves.

    def _before_fork(self) -> None:
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))

    def _after_fork(self) -> None:
        for instance in [*self._instances.values(), *self._leaving]:
            instance.driver.forked()
        if self._handles_sigterm:
            signal.signal(signal.SIGTERM, self._handled_before)
        self._begin()
        self._unmask()

    def _unmask(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

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

    # --- SIGTERM ---

    def handle_sigterm(self) -> None:
        """Close on SIGTERM too; only the main thread can set that up, and an ignored signal stays ignored."""
        if self._handles_sigterm or threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)
        if before in (signal.SIG_IGN, None):
            return
        self._handles_sigterm, self._handled_before = True, before
        threading.Thread(target=self._await_signal, name="masterjob signals", daemon=True).start()

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            # Only what may interrupt anything: putting into this queue, and setting a handler.
            if callable(before):
                self._signals.put(lambda: self.close_all("SIGTERM"))
                before(number, frame)
            else:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                self._signals.put(self._close_and_die)

        signal.signal(signal.SIGTERM, on_sigterm)

    def _await_signal(self) -> None:
        while True:
            self._signals.get()()

    def _close_and_die(self) -> None:
        """End as the signal would have ended us, only with the locks released before."""
        self.close_all("SIGTERM")
        os.kill(os.getpid(), signal.SIGTERM)


def _let(attend: Callable[[], None]) -> None:
    """Nothing that fails at the end may keep jobs and locks from it."""
    try:
        attend()
    except Exception:
        logger.exception("a defect at the end of the process, which goes on")


def _why_not(lock: LockStatus) -> str:
    if lock.disabled is not None:
        return f"disabled by {lock.disabled.by}: {lock.disabled.reason}"
    if lock.master is not None:
        return f"waiting: {lock.master.instance} is master (term {lock.term})"
    return "waiting: the lock is free and about to be claimed"


def identity(environ: Mapping[str, str]) -> Identity:
    """Return who this instance is; in a pod the environment says where, as its manifest has it set.

    Source: design section 6, the downward API.
    """
    pod = environ.get("POD_NAME", "")
    return Identity(
        instance=f"{(pod or socket.gethostname())[:_HOST_LIMIT]}-{os.getpid()}-{uuid4().hex[:8]}",
        address=environ.get("POD_IP", "") or socket.gethostname(),
        pod=pod,
        pod_uid=environ.get("POD_UID", ""),
        node=environ.get("NODE_NAME", ""),
        container=environ.get("CONTAINER_NAME", ""),
    )


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that the caller stands on, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
