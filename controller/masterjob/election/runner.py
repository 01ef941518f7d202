"""Gives the elector a clock, a database and jobs: the threads of one instance.

    elector     takes events in order and lets the machine decide; never calls the database or user code
    guard       does the same when a trust ends, should the elector's thread be held up
    lanes       one for each session's heartbeats, one for everything else; they wait for the database
    wake-ups    listens for hints

The machine and the orders that come of an event are one step under one lock, so that a stop can never
overtake the start before it. Nothing under that lock waits for anything.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from uuid import uuid4

from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import (
    Abandon,
    Action,
    Overrun,
    RecordTransition,
    SetStopTimeout,
    StartJob,
    StopJob,
)
from masterjob.election.core.commands import AppendHistory, StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import (
    CoreEvent,
    JobStarted,
    JobStartFailed,
    JobStopped,
    LocksChanged,
    Shutdown,
    Tick,
)
from masterjob.election.observers import Observer, ObserverThread
from masterjob.election.ports import ElectionDatabase, Job
from masterjob.election.term import Fence, LiveTerm
from masterjob.election.transition_log import TransitionLog
from masterjob.election.values import Identity, LostPolicy, Term
from masterjob.election.watchdog import ExitWatchdog, TrustWatchdog, exit_now
from masterjob.election.workers import ConnectionWorkers
from masterjob.errors import describe

logger = logging.getLogger("masterjob")


@dataclass(frozen=True, slots=True)
class _RunReport:
    """Where one run of a job tells how it goes: into the elector's queue, from whichever thread."""

    term: Term
    submit: Callable[[CoreEvent], None]

    def started(self) -> None:
        self.submit(JobStarted(self.term))

    def start_failed(self, error: BaseException) -> None:
        self.submit(JobStartFailed(self.term, describe(error)))

    def stopped(self) -> None:
        self.submit(JobStopped(self.term))


class ElectionRunner:
    """One instance taking part in the election on one database. Start it once; after `shutdown` it is over."""

    def __init__(
        self, identity: Identity, database: ElectionDatabase, fence: Fence, observers: Sequence[Observer] = ()
    ) -> None:
        self.identity = identity
        self.unavailable_reason: str | None = "the database was not reached yet"
        """Why nothing can be done at the moment, if so."""
        self._database = database
        self._fence = fence
        self._elector = Elector(identity, Random(), lambda: uuid4().hex)  # noqa: S311 - jitter is no secret
        self._jobs: dict[str, Job] = {}
        self._terms: dict[Term, LiveTerm] = {}
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
        self._transition_log = TransitionLog(identity.instance)
        self._observer_thread = ObserverThread(identity.instance, observers)
        self._next_step_due_at = clock()
        self._thread = threading.Thread(target=self._run_thread, name="masterjob elector", daemon=True)

    # --- for the composition root, from any thread ---

    def start(self) -> None:
        """Begin to take part; returns at once, also where the database is not there yet."""
        self._thread.start()

    def submit(self, event: CoreEvent) -> None:
        """Have the elector take in an event."""
        self._event_queue.put(event)

    def set_job(self, lock_name: str, job: Job) -> None:
        """Say what the master of the lock runs, before the lock is declared."""
        self._jobs[lock_name] = job

    def current_term(self, lock_name: str) -> LiveTerm | None:
        """The term that this instance serves now, if it does."""
        term = self._elector.current_term(lock_name)
        return self._terms.get(term) if term is not None and self._trust_left(term) > 0 else None

    def explain(self, lock_name: str) -> str:
        """What this instance does about the lock, in words."""
        return self.unavailable_reason or self._elector.explain(lock_name) or "not taking part"

    def is_waiting(self, lock_name: str) -> bool:
        """Whether this instance is a candidate that somebody else could tell more about."""
        return self.unavailable_reason is None and self._elector.is_waiting(lock_name)

    @property
    def lag(self) -> float:
        """Seconds for which the elector's thread should have turned and has not; 0 where all is well."""
        return 0.0 if self._closed.is_set() else max(0.0, clock() - self._next_step_due_at)

    @property
    def trust_left(self) -> float | None:
        """Seconds until the first trust ends that a term stands on, if not renewed; None where there is none."""
        expires_at = self._elector.next_expiry()
        return None if expires_at == float("inf") else expires_at - clock()

    @property
    def is_closed(self) -> bool:
        """Whether this instance has ended, in good order or by a defect of its own."""
        return self._closed.is_set()

    def wait_withdrawn(self, lock_name: str, timeout: float) -> bool:
        """Wait until this instance takes no part in the lock any more; False if it still does."""
        with self._step_done:
            withdrawn = self._step_done.wait_for(
                lambda: self._closed.is_set() or self._elector.explain(lock_name) is None, timeout
            )
        if withdrawn:
            self._jobs.pop(lock_name, None)
        return withdrawn

    def shutdown(self, reason: str, timeout: float) -> bool:
        """Stop all jobs, release all locks, end all threads; False if that is not done by then."""
        self._shutting_down.set()
        self.submit(Shutdown(reason))
        return self._closed.wait(timeout)

    def after_fork_in_child(self) -> None:
        """Be over in a forked child, which has none of our threads and none of our terms."""
        self.unavailable_reason = "this process is a fork of the one that took part"
        self._elector = Elector(self.identity, Random(), lambda: uuid4().hex)  # noqa: S311
        self._step_done = threading.Condition()  # whoever held the old ones is not here
        self._closed = threading.Event()
        self._closed.set()

    # --- the elector's thread ---

    def _run_thread(self) -> None:
        try:
            if self._prepare_database():
                self._run_event_loop()
        except Exception as error:
            self._fail(error)
        self._close()

    def _run_event_loop(self) -> None:
        try:
            self._notifier.start()
        except RuntimeError as error:  # no thread can be started: they are hints, and all comes to pass without
            logger.warning("there are no wake-ups, so all takes a little longer: %s", error)
        while not self._closed.is_set() and not (self._shutting_down.is_set() and self._elector.is_idle):
            self._step(self._next_event())
        self._notifier.close()

    def _prepare_database(self) -> bool:
        """Get the tables ready, however long the database takes to appear; False when told to leave before."""
        backoff = 0.1
        while not self._shutting_down.is_set():
            try:
                self._database.prepare()
            except Exception as error:  # whatever a driver raises, this thread has to go on
                self.unavailable_reason = f"the database cannot be used: {error}"
                logger.warning("%s", self.unavailable_reason)
                self._shutting_down.wait(backoff)
                backoff = min(2 * backoff, 5.0)
            else:
                self.unavailable_reason = None
                return True
        return False

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
            self._exit_watchdog.set_deadline(float("inf"))
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
        except Exception:  # somebody's log handler: the election goes on
            logger.debug("a log handler has failed", exc_info=True)
        with self._step_done:
            self._step_done.notify_all()

    def _handle(self, event: CoreEvent) -> list[Action]:
        if isinstance(event, JobStopped):
            self._terms.pop(event.term, None)
        now = clock()
        actions = self._elector.handle(event, now)
        for action in actions:
            self._execute(action)
        self._observer_thread.publish(now, event, actions)
        if entries := tuple(action.entry for action in actions if isinstance(action, RecordTransition)):
            self._workers.submit(AppendHistory(clock(), entries))
        self._trust_watchdog.set_deadline(self._elector.next_expiry())
        self._exit_watchdog.set_deadline(self._elector.exit_deadline())
        return actions

    def _fail(self, error: Exception) -> None:
        """A defect of our own: whoever cannot decide any more must not be master. The lease does the rest."""
        self.unavailable_reason = f"the election has failed: {error!r}"
        self._failed = True  # so the exit timer stays armed for jobs that must not outlive their lease
        for term in list(self._terms):
            with contextlib.suppress(Exception):
                self._jobs[term.lock_name].stop()
        self._closed.set()
        logger.critical("%s", self.unavailable_reason, exc_info=error)

    def _execute(self, action: Action) -> None:
        match action:
            case StoreCommand():
                self._workers.submit(action)
            case Abandon(command):
                self._workers.abandon(command)
            case StartJob(term):
                self._start_job(term)
            case SetStopTimeout(term, stop_timeout):
                self._jobs[term.lock_name].set_stop_timeout(stop_timeout)
            case StopJob(term, _):
                self._jobs[term.lock_name].stop()
                self._terms.pop(term, None)
            case Overrun(_, LostPolicy.EXIT):
                exit_now()

    def _start_job(self, term: Term) -> None:
        live_term = LiveTerm(term, lambda: self._trust_left(term), self._fence)
        self._terms[term] = live_term
        self._jobs[term.lock_name].start(live_term, _RunReport(term, self.submit))

    def _trust_left(self, term: Term) -> float:
        return self._elector.trusted_until(term) - clock()
