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

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.settings import Settings
from masterjob.election.observers import Observer
from masterjob.election.ports import Job
from masterjob.runtime.instance import SHUTDOWN_GRACE, Instance
from masterjob.runtime.sigterm import SigtermBlock, SigtermHandler
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")


class ShutdownHook(Protocol):
    """Who has something to do at the end of a process. No method takes more than a few seconds."""

    def before_shutdown(self) -> None:
        """Change nothing any more: jobs are about to be stopped, and locks released."""

    def after_shutdown(self) -> None:
        """Say what there is to say of that."""


class Runtime:
    """Everything that takes part in this process, and the process's own end."""

    def __init__(self) -> None:
        self._atexit_registered = False
        self._reset()
        sigterm_block = SigtermBlock()
        os.register_at_fork(
            before=sigterm_block.block,
            after_in_parent=sigterm_block.unblock,
            after_in_child=self._after_fork_in_child,
        )
        os.register_at_fork(after_in_child=sigterm_block.unblock)  # whatever becomes of that

    def _reset(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._shutting_down: list[Instance] = []
        self._observers: list[tuple[str | None, Observer]] = []
        self._status_write_observers: list[Callable[[str], None]] = []
        self._shutdown_hooks: list[ShutdownHook] = []
        self._lock = threading.RLock()
        self.thread_pool = ThreadPool()
        self._sigterm = SigtermHandler(self.shutdown)

    def _after_fork_in_child(self) -> None:
        """Be nobody in a forked child, which has none of our threads: it is no instance until it becomes one."""
        for instance in [*self._instances.values(), *self._shutting_down]:
            instance.runner.after_fork_in_child()
        self._sigterm.after_fork_in_child()
        self._reset()

    def install_sigterm_handler(self) -> None:
        """Close on SIGTERM too; only the main thread can set that up, and an ignored signal stays ignored."""
        self._sigterm.install()

    def open_lock(self, name: str, job: Job, settings: Settings) -> Instance:
        """Take part in the election for this lock with the instance of its database."""
        while not (instance := self._instance_for(settings.database)).open_lock(name, job, settings):
            self._begin_shutdown(instance)
        return instance

    def add_observer(self, observer: Observer, url: str | None = None) -> None:
        """Have every instance be seen by ``observer``, or those on one database, on a thread of their own."""
        with self._lock:
            self._observers.append((url, observer))
            for instance in self._instances.values():
                if url in (None, instance.url):
                    instance.observers.append(observer)

    def add_status_write_observer(self, observer: Callable[[str], None]) -> None:
        """Call ``observer`` with the outcome of each write of a resource's status."""
        with self._lock:
            self._status_write_observers.append(observer)

    def publish_status_write(self, outcome: str) -> None:
        """Call the observers of status writes."""
        with self._lock:
            observers = list(self._status_write_observers)
        for observer in observers:
            observer(outcome)

    def instances(self) -> list[Instance]:
        """Return what takes part now, one for each database."""
        with self._lock:
            return list(self._instances.values())

    def _instance_for(self, url: str) -> Instance:
        with self._lock:
            if url not in self._instances:
                observers = [each for observed_url, each in self._observers if observed_url in (None, url)]
                instance = Instance(url, self._begin_shutdown, observers)
                self._instances[url] = instance
                instance.runner.start()
            if not self._atexit_registered:
                self._atexit_registered = True
                atexit.register(self.shutdown, "the interpreter exits")
            return self._instances[url]

    def _begin_shutdown(self, instance: Instance) -> None:
        """Give it no more locks; but whoever ends the process waits for it too."""
        with self._lock:
            if self._instances.get(instance.url) is instance:
                del self._instances[instance.url]
            self._shutting_down = [
                each for each in self._shutting_down if not each.runner.is_closed and each is not instance
            ]
            self._shutting_down.append(instance)

    def only_database(self) -> Database | None:
        """The database that this process takes part on, if it is just one."""
        with self._lock:
            running = list(self._instances.values())
            return running[0].database if len(running) == 1 else None

    def add_shutdown_hook(self, hook: ShutdownHook) -> None:
        """Have ``hook`` told of the end of this process, before and after its jobs are stopped."""
        with self._lock:
            self._shutdown_hooks.append(hook)

    def shutdown(self, reason: str) -> bool:
        """Stop every job and release every lock of this process; False if something goes on all the same."""
        with self._lock:
            hooks, self._shutdown_hooks = self._shutdown_hooks, []
        for hook in hooks:
            _run_hook(hook.before_shutdown)
        all_stopped = self._shutdown_instances(reason)
        for hook in hooks:
            _run_hook(hook.after_shutdown)
        return all_stopped

    def _shutdown_instances(self, reason: str) -> bool:
        with self._lock:
            instances = [*self._instances.values(), *self._shutting_down]
        for instance in instances:  # all at once, so that a database that hangs holds up no other
            instance.shutdown(reason, 0.0)
        stopped = [instance.shutdown(reason, instance.max_stop_timeout + SHUTDOWN_GRACE) for instance in instances]
        if not all(stopped):
            logger.warning("not everything has stopped; its locks stay taken until their leases end")
        return all(stopped)


def _run_hook(hook: Callable[[], None]) -> None:
    """Nothing that fails at the end may keep jobs and locks from it."""
    try:
        hook()
    except Exception:
        logger.exception("a defect at the end of the process, which goes on")
