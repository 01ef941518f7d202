"""The controller: reconciles what resources declare with the database and this process's part in the elections.

    the resources of a lock  ->  the oldest one owns it  ->  its switch is written  ->  its lock is opened
    (ownership.py)               the others: Conflict        (switches.py)              (managed_locks.py)

It is level-triggered: `apply` and `remove` say what is declared now, and the controller works until the rest
agrees. What fails is retried and holds up no other lock. What is not valid is reported once, and the last good
state stays.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from masterjob.concurrency.workqueue import Workqueue
from masterjob.config.settings import Settings
from masterjob.controller.managed_locks import ManagedLocks, SettingsResolver, UnknownJob
from masterjob.controller.ownership import LockOwnership
from masterjob.controller.switches import SwitchWriter
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.jobs.exec.leftovers import start_ending_orphans
from masterjob.jobs.registry import JobSpec
from masterjob.log_fields import log_fields
from masterjob.resource.masterjob import Resource
from masterjob.resource.problems import ProblemLog, ProblemReason, ResourceProblem
from masterjob.runtime.runtime import Runtime
from masterjob.runtime.shutdown import CONTROLLER_STOP_TIMEOUT
from masterjob.store.database import Database
from masterjob.store.queries.declared_switches import StoredSwitch

logger = logging.getLogger("masterjob")

_WORKER_COUNT = 4
_DATABASE_KEY = ""
"""The key of the database itself in the queue; no lock has this name."""


class Controller:
    """Reconciles resources. All methods are thread-safe; only `close` and `wait_idle` block.

    ``settings_for`` returns the settings in effect for the options of a resource; ``jobs`` are those that
    resources may name. ``on_reconciled`` is called with the name of a lock after each attempt to reconcile it.

    Raises:
        SettingError: no database is configured, or it is not supported.
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
        location = settings_for({}).database
        outages = runtime.outage_log(location)
        outages.add_affected(self._lock_names)
        self._switch_writer = SwitchWriter(Database(location, outages), partial(runtime.notify_elector, location))
        self._lock = threading.Lock()
        self._ownership = LockOwnership()
        self._written_generations: dict[str, int] = {}
        """By source: the generation whose switch the database has."""
        self._problem_log = ProblemLog()
        self._database_reached = False
        self._queue = Workqueue()

    def start(self) -> None:
        """Start the threads."""
        start_ending_orphans()  # each start of a command waits for it
        self._queue.start(self._reconcile, _WORKER_COUNT)
        self._queue.add(_DATABASE_KEY)

    def close(self) -> None:
        """Stop reconciling; jobs and locks stay as they are. Waits for what is under way, for a short time."""
        self._managed_locks.close()
        self._queue.close(CONTROLLER_STOP_TIMEOUT)

    def apply(self, source: str, resource: Resource) -> None:
        """Add or update a resource. ``source`` names its switch: ``file:NAMESPACE/NAME``, or a uid."""
        with self._lock:
            if self._ownership.lock_of(source) not in (None, resource.lock_name):
                self._remove_source(source)
            changed = self._ownership.upsert(source, resource)
        if changed:
            self._queue.add(resource.lock_name)

    def remove(self, source: str) -> None:
        """Remove a resource and its switch; with the last resource of a lock, stop competing for the lock."""
        with self._lock:
            if self._ownership.lock_of(source) is not None:
                self._remove_source(source)

    def resync(self) -> None:
        """Reconcile every lock again, switches included, in case a change was missed."""
        with self._lock:
            self._switch_writer.invalidate()
            lock_names = self._ownership.lock_names()
        for lock_name in lock_names:
            self._queue.add(lock_name)

    def requeue(self, source: str) -> None:
        """Write the switch of a resource again: the database has lost it."""
        with self._lock:
            if (lock_name := self._ownership.lock_of(source)) is not None:
                self._switch_writer.invalidate(source)
                self._queue.add(lock_name)

    def stored_switches(self) -> Mapping[tuple[str, str], StoredSwitch]:
        """Return the switches of resources in the database, by lock and source.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return self._switch_writer.stored_switches()

    def retract_switch(self, lock_name: str, source: str) -> None:
        """Remove the switch of a source that was deleted while no process was watching."""
        with self._lock:
            if self._ownership.mark_gone(lock_name, source):
                self._queue.add(lock_name)

    def written_generation(self, source: str) -> int:
        """Return the generation of a resource whose switch the database has, or 0."""
        return self._written_generations.get(source, 0)

    def settings_of(self, lock_name: str) -> Settings | None:
        """Return the settings in effect for a lock, or None if this process does not compete for it."""
        return self._managed_locks.settings_of(lock_name)

    def check_database_reached(self) -> str | None:
        """Return a sentence until the database was reached, then None."""
        return None if self._database_reached else "the database was not reached yet"

    def problem_of(self, source: str) -> ResourceProblem | None:
        """Return what is wrong with a resource, or None."""
        return self._problem_log.get(source)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is left to reconcile; return False after ``timeout`` seconds."""
        return self._queue.wait_idle(timeout)

    def _lock_names(self) -> list[str]:
        with self._lock:
            return self._ownership.lock_names()

    def _remove_source(self, source: str) -> None:
        self._queue.add(self._ownership.remove(source))
        self._problem_log.forget(source)
        self._written_generations.pop(source, None)

    # --- on the threads of the queue, one at a time for each lock

    def _probe_database(self) -> bool:
        """Return whether the database answers, so that readiness does not depend on a resource."""
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
                self._managed_locks.withdraw(key, "no MasterJob names it any more")
            for source in retractions:
                self._switch_writer.retract(key, source, "that MasterJob is gone")
            for source, _ in claimants[1:]:
                self._switch_writer.retract(key, source, "the lock belongs to another MasterJob")
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
            )  # first: no instance may claim a lock that was just disabled
        except StoreUnavailable:
            if not resource.enabled:  # the election may reach the database again before the next attempt does
                self._managed_locks.withdraw(resource.lock_name, "it is disabled")
            raise
        self._written_generations[source] = 0 if resource.object_meta is None else resource.object_meta.generation
        try:
            self._managed_locks.ensure(resource)
        except SettingError as error:
            reason = ProblemReason.UNKNOWN_JOB if isinstance(error, UnknownJob) else ProblemReason.INVALID
            self._problem_log.report(source, ResourceProblem(reason, str(error)))
        else:
            self._problem_log.resolve(source)

    def _clear_retractions(self, lock_name: str, retracted: list[str]) -> None:
        """Forget the switches that were removed. A source that was removed meanwhile has queued the lock again."""
        with self._lock:
            delay = self._ownership.clear_retractions(lock_name, retracted)
        if delay is not None:
            self._queue.add(lock_name, delay=delay)

    def _report_retry(self, lock_name: str, source: str | None, error: StoreUnavailable) -> None:
        """Record the problem. Log it unless it is an outage, which the store logs once for all locks."""
        message = f"whether {lock_name} is enabled cannot be written, and is retried: {error}"
        if source is not None:
            problem = ResourceProblem(ProblemReason.UNAVAILABLE, message)
            self._problem_log.report(source, problem, is_logged=not error.is_outage)
        elif not error.is_outage:
            logger.warning(
                "%s", message, extra=log_fields(lock=lock_name, event="failed command", reason=str(error))
            )
