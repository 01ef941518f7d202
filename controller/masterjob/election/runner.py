"""Gives the elector a clock, a database and jobs: the threads of one instance.

    masterjob-elector     prepares the tables, then handles events in order; runs no user code
    masterjob-watchdog    handles the end of a trust, in case the elector's thread is blocked
    masterjob-heartbeat   executes the heartbeats of one session
    masterjob-control     executes all other commands
    masterjob-observers   passes each step to metrics, health and status

An event and its actions are one step under one lock, so that a stop cannot overtake the start before it. Nothing
under that lock blocks.
"""

import logging
import queue
import threading
from collections.abc import Sequence
from random import Random
from uuid import uuid4

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import Abandon, Action, Overrun
from masterjob.election.core.commands import StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, JobStopped, LocksChanged, Shutdown, Tick
from masterjob.election.core.session import NEVER
from masterjob.election.history_writer import HistoryWriter
from masterjob.election.job_runs import JobAction, JobRuns
from masterjob.election.observers import Observer, ObserverThread
from masterjob.election.ports import ElectionDatabase, Job
from masterjob.election.term import Fence, LiveTerm
from masterjob.election.transition_log import TransitionLog
from masterjob.election.values import Identity, LostPolicy, Term
from masterjob.election.watchdog import ExitWatchdog, TrustWatchdog, exit_now
from masterjob.election.workers import ConnectionWorkers
from masterjob.errors import StoreUnavailable

logger = logging.getLogger("masterjob")

_PREPARE_BACKOFF = Backoff(0.1, 5.0)


class ElectionRunner:
    """One instance in the election on one database. Start it once; a `shutdown` is final."""

    def __init__(
        self, identity: Identity, database: ElectionDatabase, fence: Fence, observers: Sequence[Observer] = ()
    ) -> None:
        self.identity = identity
        self.unavailable_reason: str | None = "the database was not reached yet"
        """Why this instance cannot take part at the moment; None if it can."""
        self._database = database
        self._elector = Elector(identity, Random(), lambda: uuid4().hex)  # noqa: S311 - jitter is not a secret
        self._job_runs = JobRuns(fence, self._trust_left, self.submit)
        self._workers = ConnectionWorkers(database.connect, self.submit)
        self._event_queue: queue.SimpleQueue[CoreEvent] = queue.SimpleQueue()
        self._step_lock = threading.Lock()
        self._step_done = threading.Condition()
        self._shutting_down = threading.Event()
        self._closed = threading.Event()
        self._failed = False
        self._exit_watchdog = ExitWatchdog()
        self._trust_watchdog = TrustWatchdog(lambda: self._step(Tick()))
        self._notifier = database.create_notifier(lambda names: self.submit(LocksChanged(names)))
        self._transition_log, self._history_writer = TransitionLog(identity.instance), HistoryWriter()
        self._observer_thread = ObserverThread(identity.instance, observers)
        self._next_step_due_at = clock()
        self._thread = threading.Thread(target=self._run, name="masterjob-elector", daemon=True)

    # --- from any thread ---

    def start(self) -> None:
        """Begin to take part. Return at once, even if the database cannot be reached yet."""
        self._thread.start()

    def submit(self, event: CoreEvent) -> None:
        """Queue an event for the elector."""
        self._event_queue.put(event)

    def set_job(self, lock_name: str, job: Job) -> None:
        """Set the job that the master of the lock runs. Call it before the lock is declared."""
        self._job_runs.set_job(lock_name, job)

    def current_term(self, lock_name: str) -> LiveTerm | None:
        """Return the term that this instance serves now, if any."""
        term = self._elector.current_term(lock_name)
        return self._job_runs.live_term(term) if term is not None and self._trust_left(term) > 0 else None

    def explain(self, lock_name: str) -> str:
        """Return what this instance does about the lock, in words."""
        return self.unavailable_reason or self._elector.explain(lock_name) or "not taking part"

    def is_waiting(self, lock_name: str) -> bool:
        """Return whether this instance is a candidate for the lock and may compete now."""
        return self.unavailable_reason is None and self._elector.is_waiting(lock_name)

    @property
    def lag(self) -> float:
        """Seconds by which the elector's thread is late; 0 if it is on time."""
        return 0.0 if self._closed.is_set() else max(0.0, clock() - self._next_step_due_at)

    @property
    def trust_left(self) -> float | None:
        """Seconds until the first trust or lease of a term ends, unless it is renewed; None without a term."""
        expires_at = self._elector.next_expiry()
        return None if expires_at == NEVER else expires_at - clock()

    @property
    def is_closed(self) -> bool:
        """Whether this instance has ended, by a shutdown or a defect."""
        return self._closed.is_set()

    def wait_withdrawn(self, lock_name: str, timeout: float) -> bool:
        """Wait until this instance has left the lock; return False if ``timeout`` seconds are too few."""
        with self._step_done:
            withdrawn = self._step_done.wait_for(
                lambda: self._closed.is_set() or self._elector.explain(lock_name) is None, timeout
            )
        if withdrawn:
            self._job_runs.remove_job(lock_name)
        return withdrawn

    def shutdown(self, reason: str, timeout: float) -> bool:
        """Stop all jobs, release all locks, end all threads; return False if ``timeout`` seconds are too few."""
        self._shutting_down.set()
        self.submit(Shutdown(reason))
        return self._closed.wait(timeout)

    def wait_for_observers(self, timeout: float) -> None:
        """After a shutdown, wait up to ``timeout`` seconds until the observers have seen all steps."""
        self._thread.join(timeout)

    def after_fork_in_child(self) -> None:
        """Close this instance in a forked child, which has none of its threads and terms."""
        self.unavailable_reason = "this process is a fork of the one that took part"
        self._elector = Elector(self.identity, Random(), lambda: uuid4().hex)  # noqa: S311
        self._step_done = threading.Condition()  # the old ones may be locked by a thread that is not here
        self._closed = threading.Event()
        self._closed.set()
        self._job_runs.after_fork_in_child()

    # --- the elector's thread ---

    def _run(self) -> None:
        try:
            if self._prepare_database():
                self._run_event_loop()
        except Exception as error:
            self._fail(error)
        self._close()

    def _prepare_database(self) -> bool:
        """Retry until the tables are ready; return False after a shutdown."""
        failures = 0
        while not self._shutting_down.is_set():
            try:
                self._database.prepare()
            except Exception as error:  # a driver may raise anything, and this thread must survive it
                self.unavailable_reason = f"the database cannot be used: {error}"
                if not isinstance(error, StoreUnavailable):  # which the store logs
                    logger.exception("%s", self.unavailable_reason)
                self._shutting_down.wait(_PREPARE_BACKOFF.delay(failures))
                failures += 1
            else:
                self.unavailable_reason = None
                return True
        return False

    def _run_event_loop(self) -> None:
        try:
            self._notifier.start()
        except RuntimeError as error:  # no thread can be started; notifications are only hints
            logger.warning("no change notifications, so a failover takes longer: %s", error)
        while not self._closed.is_set() and not (self._shutting_down.is_set() and self._elector.is_idle):
            self._step(self._next_event())
        self._notifier.close()

    def _next_event(self) -> CoreEvent:
        with self._step_lock:
            remaining = self._elector.next_tick_at() - clock()
        timeout = min(max(remaining, 0.0), 3600.0)
        self._next_step_due_at = clock() + timeout
        try:
            return self._event_queue.get(timeout=timeout)
        except queue.Empty:
            return Tick()
        finally:
            self._next_step_due_at = clock()

    def _close(self) -> None:
        self._workers.close(1.0)
        self._trust_watchdog.close()
        if not self._failed:
            self._exit_watchdog.set_deadline(NEVER)
        self._closed.set()
        with self._step_done:
            self._step_done.notify_all()
        self._observer_thread.close(1.0)

    # --- one step ---

    def _step(self, event: CoreEvent) -> None:
        try:
            with self._step_lock:
                actions = self._handle(event)
        except Exception as error:
            self._fail(error)
            return
        try:
            self._transition_log.log(event, actions)
        except Exception:  # an application's log handler or filter must not end the election
            logger.debug("a log handler failed", exc_info=True)
        with self._step_done:
            self._step_done.notify_all()

    def _handle(self, event: CoreEvent) -> list[Action]:
        if isinstance(event, JobStopped):
            self._job_runs.forget(event.term)
        now = clock()
        actions = self._elector.handle(event, now)
        self._exit_watchdog.set_deadline(self._elector.exit_deadline())  # before a job can block this thread
        for action in actions:
            self._execute(action)
        self._observer_thread.publish(now, event, actions)
        for command in self._history_writer.commands_for(event, actions, now):
            self._workers.submit(command)
        self._trust_watchdog.set_deadline(self._elector.next_expiry())
        return actions

    def _execute(self, action: Action) -> None:
        match action:
            case StoreCommand():
                self._workers.submit(action)
            case Abandon(command):
                self._workers.abandon(command)
            case Overrun(_, LostPolicy.EXIT):
                exit_now()
            case _ if isinstance(action, JobAction):
                self._job_runs.execute(action)

    def _fail(self, error: Exception) -> None:
        """Stop all jobs after a defect: an instance that cannot decide must not be master. The lease expires."""
        self.unavailable_reason = f"the election has failed: {error!r}"
        self._failed = True  # so the exit watchdog stays armed for jobs that must not outlive their lease
        self._job_runs.stop_all()
        self._closed.set()
        logger.critical("%s", self.unavailable_reason, exc_info=error)

    def _trust_left(self, term: Term) -> float:
        return self._elector.trusted_until(term) - clock()
