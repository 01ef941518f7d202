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

from masterjob.election.clock import clock
from masterjob.election.errors import told
from masterjob.election.guard import ExitTimer, Guard, exit_now
from masterjob.election.lanes import Lanes
from masterjob.election.machine.actions import Abandon, Action, Overrun, Say, StartJob, StopJob, StopWithin
from masterjob.election.machine.commands import Command, Record
from masterjob.election.machine.elector import Elector
from masterjob.election.machine.events import Event, Leave, Started, StartFailed, Stopped, Tick, Woken
from masterjob.election.observing import Gallery, Observer
from masterjob.election.ports import Database, Job
from masterjob.election.telling import Teller
from masterjob.election.term import Fence, LiveTerm
from masterjob.election.values import Identity, LostPolicy, Term

logger = logging.getLogger("masterjob")


@dataclass(frozen=True, slots=True)
class _Report:
    """Where one run of a job tells how it goes: into the elector's queue, from whichever thread."""

    term: Term
    tell: Callable[[Event], None]

    def started(self) -> None:
        self.tell(Started(self.term))

    def start_failed(self, error: BaseException) -> None:
        self.tell(StartFailed(self.term, told(error)))

    def stopped(self) -> None:
        self.tell(Stopped(self.term))


class Driver:
    """One instance taking part in the election on one database. Start it once; after `leave` it is over."""

    def __init__(
        self, identity: Identity, database: Database, fence: Fence, observers: Sequence[Observer] = ()
    ) -> None:
        self.identity = identity
        self.trouble: str | None = "the database was not reached yet"
        """Why nothing can be done at the moment, if so."""
        self._database = database
        self._fence = fence
        self._elector = Elector(identity, Random(), lambda: uuid4().hex)  # noqa: S311 - jitter is no secret
        self._jobs: dict[str, Job] = {}
        self._terms: dict[Term, LiveTerm] = {}
        self._lanes = Lanes(database.connect, self.tell)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._step_lock = threading.Lock()
        self._changed = threading.Condition()
        self._leaving = threading.Event()
        self._over = threading.Event()
        self._failed = False
        self._exit_timer = ExitTimer()
        self._guard = Guard(lambda: self._step(Tick()))
        self._wakeups = database.wakeups(lambda names: self.tell(Woken(names)))
        self._teller = Teller(identity.instance)
        self._gallery = Gallery(identity.instance, observers)
        self._awake_at = clock()
        self._thread = threading.Thread(target=self._run, name="masterjob elector", daemon=True)

    # --- for the composition root, from any thread ---

    def start(self) -> None:
        """Begin to take part; returns at once, also where the database is not there yet."""
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Have the elector take in an event."""
        self._events.put(event)

    def run_job(self, lock_name: str, job: Job) -> None:
        """Say what the master of the lock runs, before the lock is declared."""
        self._jobs[lock_name] = job

    def term_of(self, lock_name: str) -> LiveTerm | None:
        """The term that this instance serves now, if it does."""
        term = self._elector.term_of(lock_name)
        return self._terms.get(term) if term is not None and self._trust_left(term) > 0 else None

    def why(self, lock_name: str) -> str:
        """What this instance does about the lock, in words."""
        return self.trouble or self._elector.why(lock_name) or "not taking part"

    def waits(self, lock_name: str) -> bool:
        """Whether this instance is a candidate that somebody else could tell more about."""
        return self.trouble is None and self._elector.waits(lock_name)

    @property
    def late(self) -> float:
        """Seconds for which the elector's thread should have turned and has not; 0 where all is well."""
        return 0.0 if self._over.is_set() else max(0.0, clock() - self._awake_at)

    @property
    def trust_left(self) -> float | None:
        """Seconds until the first trust ends that a term stands on, if not renewed; None where there is none."""
        ends = self._elector.trust_ends_at()
        return None if ends == float("inf") else ends - clock()

    @property
    def over(self) -> bool:
        """Whether this instance has ended, in good order or by a defect of its own."""
        return self._over.is_set()

    def wait_gone(self, lock_name: str, timeout: float) -> bool:
        """Wait until this instance takes no part in the lock any more; False if it still does."""
        with self._changed:
            gone = self._changed.wait_for(
                lambda: self._over.is_set() or self._elector.why(lock_name) is None, timeout
            )
        if gone:
            self._jobs.pop(lock_name, None)
        return gone

    def leave(self, why: str, timeout: float) -> bool:
        """Stop all jobs, release all locks, end all threads; False if that is not done by then."""
        self._leaving.set()
        self.tell(Leave(why))
        return self._over.wait(timeout)

    def forked(self) -> None:
        """Be over in a forked child, which has none of our threads and none of our terms."""
        self.trouble = "this process is a fork of the one that took part"
        self._elector = Elector(self.identity, Random(), lambda: uuid4().hex)  # noqa: S311
        self._changed = threading.Condition()  # whoever held the old ones is not here
        self._over = threading.Event()
        self._over.set()

    # --- the elector's thread ---

    def _run(self) -> None:
        try:
            if self._prepare():
                self._take_part()
        except Exception as error:
            self._fail(error)
        self._close()

    def _take_part(self) -> None:
        try:
            self._wakeups.start()
        except RuntimeError as error:  # no thread can be started: they are hints, and all comes to pass without
            logger.warning("there are no wake-ups, so all takes a little longer: %s", error)
        while not self._over.is_set() and not (self._leaving.is_set() and self._elector.idle):
            self._step(self._next_event())
        self._wakeups.close()

    def _prepare(self) -> bool:
        """Get the tables ready, however long the database takes to appear; False when told to leave before."""
        pause = 0.1
        while not self._leaving.is_set():
            try:
                self._database.prepare()
            except Exception as error:  # whatever a driver raises, this thread has to go on
                self.trouble = f"the database cannot be used: {error}"
                logger.warning("%s", self.trouble)
                self._leaving.wait(pause)
                pause = min(2 * pause, 5.0)
            else:
                self.trouble = None
                return True
        return False

    def _next_event(self) -> Event:
        with self._step_lock:
            left = self._elector.next_time() - clock()
        wait = min(max(left, 0.0), 3600.0)
        self._awake_at = clock() + wait
        try:
            return self._events.get(timeout=wait)
        except queue.Empty:
            return Tick()
        finally:
            self._awake_at = clock()

    def _close(self) -> None:
        self._lanes.close(1.0)
        self._guard.close()
        if not self._failed:
            self._exit_timer.set(float("inf"))
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        self._gallery.close(1.0)

    # --- one step ---

    def _step(self, event: Event) -> None:
        try:
            with self._step_lock:
                actions = self._decide(event)
        except Exception as error:
            self._fail(error)
            return
        try:
            self._teller.tell(event, actions)
        except Exception:  # somebody's log handler: the election goes on
            logger.debug("a log handler has failed", exc_info=True)
        with self._changed:
            self._changed.notify_all()

    def _decide(self, event: Event) -> list[Action]:
        if isinstance(event, Stopped):
            self._terms.pop(event.term, None)
        now = clock()
        actions = self._elector.handle(event, now)
        for action in actions:
            self._carry_out(action)
        self._gallery.show(now, event, actions)
        if entries := tuple(action.entry for action in actions if isinstance(action, Say)):
            self._lanes.perform(Record(clock(), entries))
        self._guard.set(self._elector.trust_ends_at())
        self._exit_timer.set(self._elector.exits_at())
        return actions

    def _fail(self, error: Exception) -> None:
        """A defect of our own: whoever cannot decide any more must not be master. The lease does the rest."""
        self.trouble = f"the election has failed: {error!r}"
        self._failed = True  # so the exit timer stays armed for jobs that must not outlive their lease
        for term in list(self._terms):
            with contextlib.suppress(Exception):
                self._jobs[term.lock_name].stop()
        self._over.set()
        logger.critical("%s", self.trouble, exc_info=error)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Command():
                self._lanes.perform(action)
            case Abandon(command):
                self._lanes.abandon(command)
            case StartJob(term):
                self._start_job(term)
            case StopWithin(term, seconds):
                self._jobs[term.lock_name].stop_within(seconds)
            case StopJob(term, _):
                self._jobs[term.lock_name].stop()
                self._terms.pop(term, None)
            case Overrun(_, LostPolicy.EXIT):
                exit_now()

    def _start_job(self, term: Term) -> None:
        live = LiveTerm(term, lambda: self._trust_left(term), self._fence)
        self._terms[term] = live
        self._jobs[term.lock_name].start(live, _Report(term, self.tell))

    def _trust_left(self, term: Term) -> float:
        return self._elector.trusted_until(term) - clock()
