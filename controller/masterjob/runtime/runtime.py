"""All instances of this process, one for each database, from the first lock to the shutdown."""

import logging
import os
import threading
from collections.abc import Callable
from functools import partial

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.location import DatabaseLocation
from masterjob.config.settings import Settings
from masterjob.election.core.events import LocksChanged
from masterjob.election.observers import Observer
from masterjob.election.ports import Job
from masterjob.runtime.instance import Instance
from masterjob.runtime.process_exit import ProcessExit
from masterjob.runtime.shutdown import RELEASE_TIMEOUT, ShutdownHook, ShutdownSequence
from masterjob.runtime.sigterm import SigtermBlock, SigtermHandler
from masterjob.store.connection.outages import OutageLog

logger = logging.getLogger("masterjob")


class Runtime:
    """All instances of this process, and its shutdown. All methods are thread-safe."""

    def __init__(self) -> None:
        self._process_exit = ProcessExit(partial(self.shutdown, "the interpreter exits"))
        self._reset()
        sigterm_block = SigtermBlock()
        os.register_at_fork(
            before=sigterm_block.block,
            after_in_parent=sigterm_block.unblock,
            after_in_child=self._after_fork_in_child,
        )
        os.register_at_fork(after_in_child=sigterm_block.unblock)  # even if the hook before it failed

    def _reset(self) -> None:
        self._instances: dict[DatabaseLocation, Instance] = {}
        self._shutting_down: list[Instance] = []
        self._observers: list[tuple[DatabaseLocation | None, Observer]] = []
        self._outage_logs: dict[DatabaseLocation, OutageLog] = {}
        self._status_write_observers: list[Callable[[str], None]] = []
        self._shutdown_sequence = ShutdownSequence()
        self._lock = threading.RLock()
        self.thread_pool = ThreadPool()
        self._sigterm = SigtermHandler(self.shutdown)

    def _after_fork_in_child(self) -> None:
        """Forget the instances in a forked child: their threads do not exist there."""
        for instance in [*self._instances.values(), *self._shutting_down]:
            instance.after_fork_in_child()
        self._sigterm.after_fork_in_child()
        self._reset()

    def install_sigterm_handler(self) -> None:
        """Shut down on SIGTERM too. Works in the main thread only; an ignored signal stays ignored."""
        self._sigterm.install()

    def open_lock(self, name: str, job: Job, settings: Settings, job_name: str = "") -> Instance:
        """Compete for a lock with the instance of its database, and return that instance."""
        while not (instance := self._instance_for(settings.database)).open_lock(name, job, settings, job_name):
            self._begin_shutdown(instance)
        return instance

    def notify_elector(self, database: DatabaseLocation, lock_name: str) -> None:
        """Notify the elector of this process on this database that a switch was written: it acts at once.

        Otherwise it would wait for the database's notification, or for the next poll on databases without.
        """
        with self._lock:
            instance = self._instances.get(database)
        if instance is not None:
            instance.runner.submit(LocksChanged(frozenset({lock_name})))

    def add_observer(self, observer: Observer, database: DatabaseLocation | None = None) -> None:
        """Call ``observer`` with every step of the instances on one database, or on all, on its own thread."""
        with self._lock:
            self._observers.append((database, observer))
            for instance in self._instances.values():
                if database in (None, instance.location):
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

    def outage_log(self, location: DatabaseLocation) -> OutageLog:
        """Return the log of the outages of one database, for everything in this process that uses it."""
        with self._lock:
            if location not in self._outage_logs:
                self._outage_logs[location] = OutageLog(str(location))
                self._outage_logs[location].add_affected(partial(self._open_lock_names, location))
            return self._outage_logs[location]

    def describe_refusal(self) -> str | None:
        """Return why a database refuses this process at the moment; None if none does."""
        with self._lock:
            outage_logs = list(self._outage_logs.values())
        return next((refusal for each in outage_logs if (refusal := each.refusal()) is not None), None)

    def _open_lock_names(self, location: DatabaseLocation) -> list[str]:
        instance = self._instances.get(location)
        return [] if instance is None else instance.open_lock_names()

    def instances(self) -> list[Instance]:
        """Return the instances that are not shutting down, one for each database."""
        with self._lock:
            return list(self._instances.values())

    def only_instance(self) -> Instance | None:
        """Return the instance of this process if it has just one."""
        instances = self.instances()
        return instances[0] if len(instances) == 1 else None

    def _instance_for(self, location: DatabaseLocation) -> Instance:
        with self._lock:
            if location not in self._instances:
                observers = [each for observed, each in self._observers if observed in (None, location)]
                instance = Instance(location, self._begin_shutdown, observers, self.outage_log(location))
                self._instances[location] = instance
            self._process_exit.register()
            return self._instances[location]

    def _begin_shutdown(self, instance: Instance) -> None:
        """Give the instance no more locks; `shutdown` still waits for it."""
        with self._lock:
            if self._instances.get(instance.location) is instance:
                del self._instances[instance.location]
            self._shutting_down = [
                each for each in self._shutting_down if not each.runner.is_closed and each is not instance
            ]
            self._shutting_down.append(instance)

    def add_shutdown_hook(self, before: ShutdownHook | None = None, after: ShutdownHook | None = None) -> None:
        """Call ``before`` before the jobs stop, and ``after`` when the locks are released; see shutdown.py."""
        self._shutdown_sequence.add(before, after)

    def shutdown(self, reason: str) -> bool:
        """Stop every job and release every lock of this process; return False if something still runs."""
        return self._shutdown_sequence.run(partial(self._shutdown_instances, reason))

    def _shutdown_instances(self, reason: str) -> bool:
        with self._lock:
            instances = [*self._instances.values(), *self._shutting_down]
        for instance in instances:  # all at once, so that a database that hangs holds up no other
            instance.shutdown(reason, 0.0)
        stopped = [
            instance.shutdown(reason, instance.max_stop_timeout + RELEASE_TIMEOUT) for instance in instances
        ]
        if not all(stopped):
            logger.warning("not everything has stopped; its locks stay taken until their leases end")
        return all(stopped)


_runtime = Runtime()


def current_runtime() -> Runtime:
    """Return the runtime of this process, which the library and a controller share."""
    return _runtime
