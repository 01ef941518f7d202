"""An elector that follows a fixed script, so that what a seed means can be pinned without the real one.

It opens a session for each timing and renews it, claims what is free, runs it for a while, stops it and releases
it. It keeps no promise: a world with it ends at the first violation.
"""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace

from masterjob.election.core.actions import Action, SetStopTimeout, StartJob, StopJob
from masterjob.election.core.commands import Claim, EnsureLocks, OpenSession, Release, Renew
from masterjob.election.core.events import CoreEvent, Declare, JobStopped, Reply
from masterjob.election.core.session import NEVER, HeartbeatConnection
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, Inventory, NewSession, Term

PERIOD = 0.5
"""Seconds between two actions of the script."""


class ScriptedElector:
    """Has the interface of `Elector`."""

    def __init__(self, identity: Identity, rng: Random, new_id: Callable[[], str]) -> None:
        self._identity, self._rng, self._new_id = identity, rng, new_id
        self._session_id = ""
        self._connection = HeartbeatConnection("heartbeats", 1.0)
        self._timings: dict[str, Timing] = {}
        self._running: dict[str, Term] = {}
        self._stopping: set[Term] = set()
        self._next_tick_at = NEVER
        self._ticks = 0
        self._state = SimpleNamespace(locks={}, all_sessions=list)
        self.is_idle = False

    def handle(self, event: CoreEvent, now: float) -> list[Action]:
        """Return the next actions of the script."""
        match event:
            case Declare(name, timing):
                self._timings[name] = timing
                self._next_tick_at = min(self._next_tick_at, now + PERIOD)
            case Reply(Claim(), terms):
                assert isinstance(terms, tuple)
                return [action for term in terms for action in self._start(term)]
            case JobStopped(term):
                del self._running[term.lock_name]
                self._stopping.discard(term)
                return [Release(now, (self._session_id,), (term,))]
        return self._act(now) if now >= self._next_tick_at else []

    def _start(self, term: Term) -> list[Action]:
        if term.lock_name in self._running:
            return []
        self._running[term.lock_name] = term
        return [SetStopTimeout(term, self._timings[term.lock_name].stop_timeout), StartJob(term)]

    def _act(self, now: float) -> list[Action]:
        self._next_tick_at, self._ticks = now + PERIOD * (1 + self._rng.random()), self._ticks + 1
        names, instance = tuple(sorted(self._timings)), self._identity.instance
        if self._ticks == 1:
            self._session_id = self._new_id()
            session = NewSession(self._session_id, self._identity, 60_000)
            return [EnsureLocks(now, names), OpenSession(now, self._connection, session)]
        renew = Renew(now, self._connection, self._session_id, instance, Inventory(0, 0))
        if self._ticks % 6 == 0:
            terms = [term for term in self._running.values() if term not in self._stopping]
            self._stopping.update(terms)
            return [renew, *(StopJob(term, "the script says so") for term in terms)]
        return [renew, Claim(now, self._session_id, names)]

    def next_tick_at(self) -> float:
        """Return when the script goes on."""
        return self._next_tick_at

    def trusted_until(self, _term: Term) -> float:
        """Trust for ever."""
        return NEVER

    def next_expiry(self) -> float:
        """Let no trust end."""
        return NEVER

    def exit_deadline(self) -> float:
        """Let no lease end."""
        return NEVER
