"""The controller: has done what resources say, whether they were read from files or from Kubernetes.

It is told what is wanted, `apply` and `remove`, and works towards that until it is so: the switch in the database
first, then this process's part in the election. What fails is tried again and holds up no other lock; what cannot
be done is told once, and the last good state stays.

    the resources of a lock  ->  the oldest one counts  ->  its switch is written  ->  the lock is declared
    (ownership.py)                 the others: Conflict       (switches.py)              (locks.py)

What must not be here: where resources come from, SQL, what a job is.

Source: design sections 3.2, 6.1 and 6.2.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from masterjob.concurrency.workqueue import Workqueue
from masterjob.config.settings import Settings
from masterjob.controller.locks import ManagedLocks, SettingsResolver, UnknownJob
from masterjob.controller.ownership import LockOwnership
from masterjob.controller.switches import SwitchWriter
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.jobs.registry import JobSpec
from masterjob.resource.masterjob import Resource
from masterjob.resource.problems import ProblemLog, ProblemReason, ResourceProblem
from masterjob.runtime.runtime import Runtime
from masterjob.store.database import Database
from masterjob.store.queries.declarations import StoredSwitch

logger = logging.getLogger("masterjob")

_WORKER_COUNT = 4
_DATABASE_KEY = ""
"""In the queue, where no lock has that name: the database itself."""


class Controller:
    """Resources in, elections out. Every method returns at once and may be called from any thread.

    ``settings_for`` gives the settings in effect for the options of a resource; ``jobs`` are those that may be
    named.
    ``on_reconciled`` is called with the name of a lock whenever what can be done for it at the moment was done.

    Raises:
        SettingError: no database is named, or none that can be used.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings_for: SettingsResolver,
        jobs: Mapping[str, JobSpec],
        on_reconciled: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_reconciled = on_reconciled
        self._managed_locks = ManagedLocks(runtime, settings_for, jobs)
        self._switch_writer = SwitchWriter(Database(settings_for({}).database))
        self._lock = threading.Lock()
        self._ownership = LockOwnership()
        self._written_generations: dict[str, int] = {}
        """The generation of each source that the database has."""
        self._problem_log = ProblemLog()
        self._database_reached = False
        self._queue = Workqueue()

    def start(self) -> None:
        """Begin to work."""
        self._queue.start(self._reconcile, _WORKER_COUNT)
        self._queue.add(_DATABASE_KEY)

    def close(self, timeout: float = 2.0) -> None:
        """Change nothing any more; jobs and locks stay as they are until the process gives them up."""
        self._managed_locks.close()
        self._queue.close(timeout)

    def apply(self, source: str, resource: Resource) -> None:
        """Have done what the resource says. ``source`` names its switch: `file:NAMESPACE/NAME`, or a uid."""
        with self._lock:
            if self._ownership.lock_of(source) not in (None, resource.lock_name):
                self._remove_source(source)
            changed = self._ownership.upsert(source, resource)
        if changed:
            self._queue.add(resource.lock_name)

    def remove(self, source: str) -> None:
        """The resource is gone for good: so are its switch and, with the last of them, our part in its lock."""
        with self._lock:
            if self._ownership.lock_of(source) is not None:
                self._remove_source(source)

    def resync(self) -> None:
        """Look at everything again, also at switches that were written before: a slow net for what was lost."""
        with self._lock:
            self._switch_writer.invalidate()
            lock_names = self._ownership.lock_names()
        for lock_name in lock_names:
            self._queue.add(lock_name)

    def requeue(self, source: str) -> None:
        """Have the switch of a resource written again: the database does not say what was written."""
        with self._lock:
            if (lock_name := self._ownership.lock_of(source)) is not None:
                self._switch_writer.invalidate(source)
                self._queue.add(lock_name)

    def stored_switches(self) -> Mapping[tuple[str, str], StoredSwitch]:
        """What the database has of the switches of resources, by lock and source; `StoreUnavailable` if nothing.

        Of a source that does not speak any more, `retract_switch` removes it.
        """
        return self._switch_writer.stored_switches()

    def retract_switch(self, lock_name: str, source: str) -> None:
        """Have the switch removed that a source left behind; it went while nobody was there to see it."""
        with self._lock:
            if self._ownership.mark_gone(lock_name, source):
                self._queue.add(lock_name)

    def written_generation(self, source: str) -> int:
        """Return which generation of a resource the database has; 0 for none."""
        return self._written_generations.get(source, 0)

    def settings_of(self, lock_name: str) -> Settings | None:
        """Return what is in effect for a lock, if this process takes part in it."""
        return self._managed_locks.settings_of(lock_name)

    def check_database_reached(self) -> str | None:
        """Say that the database was not reached yet; None once it was."""
        return None if self._database_reached else "the database was not reached yet"

    def problem_of(self, source: str) -> ResourceProblem | None:
        """What of the resource cannot be done; None where all is as it says."""
        return self._problem_log.get(source)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until everything that was told is done, as far as it can be; False if it is not."""
        return self._queue.wait_idle(timeout)

    def _remove_source(self, source: str) -> None:
        self._queue.add(self._ownership.remove(source))
        self._problem_log.forget(source)
        self._written_generations.pop(source, None)

    # --- one lock; on one thread of the queue at a time

    def _probe_database(self) -> bool:
        """Find out whether the database is there and fit, also where there is no resource yet."""
        try:
            self._switch_writer.stored_switches()
        except StoreUnavailable as error:
            logger.debug("the database was not reached yet: %s", error)
            return False
        self._database_reached = True
        return True

    def _reconcile(self, key: str) -> bool:
        if key == _DATABASE_KEY:
            return self._probe_database()
        with self._lock:
            claimants = self._ownership.claimants(key)
            retractions = self._ownership.due_retractions(key)
        for source, resource in claimants[1:]:
            self._problem_log.report(
                source, ResourceProblem(ProblemReason.CONFLICT, resource.conflict_message(claimants[0][1]))
            )
        try:
            if claimants:
                self._reconcile_owner(*claimants[0])
            else:
                self._managed_locks.withdraw(key, "its resource is gone")
            for source in retractions:
                self._switch_writer.retract(key, source, "which is gone")
            for source, _ in claimants[1:]:
                self._switch_writer.retract(key, source, "whose lock it is not")
        except StoreUnavailable as error:
            self._report_retry(key, claimants[0][0] if claimants else None, error)
            return False
        finally:
            self._on_reconciled(key)
        self._clear_retractions(key, retractions)
        return True

    def _reconcile_owner(self, source: str, resource: Resource) -> None:
        try:
            self._switch_writer.write(
                source, resource
            )  # before anything else: nobody may claim what was just disabled
        except StoreUnavailable:
            if (
                not resource.enabled
            ):  # the database has not heard of it yet, and might come back before we try again
                self._managed_locks.withdraw(resource.lock_name, "it is disabled")
            raise
        self._written_generations[source] = (
            resource.object_meta.generation if resource.object_meta is not None else 0
        )
        try:
            self._managed_locks.ensure(resource)
        except SettingError as error:
            reason = ProblemReason.UNKNOWN_JOB if isinstance(error, UnknownJob) else ProblemReason.INVALID
            self._problem_log.report(source, ResourceProblem(reason, str(error)))
        else:
            self._problem_log.resolve(source)

    def _clear_retractions(self, lock_name: str, retracted: list[str]) -> None:
        """Forget what is dealt with; whoever left meanwhile has put the lock into the queue again."""
        with self._lock:
            delay = self._ownership.clear_retractions(lock_name, retracted)
        if delay is not None:
            self._queue.add(lock_name, delay=delay)

    def _report_retry(self, lock_name: str, source: str | None, error: StoreUnavailable) -> None:
        message = f"the switch of {lock_name} cannot be written at the moment, it is tried again: {error}"
        if source is not None:
            self._problem_log.report(source, ResourceProblem(ProblemReason.UNAVAILABLE, message))
        else:
            logger.warning("%s", message)
