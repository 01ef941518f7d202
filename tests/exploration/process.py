"""One process: the real elector, its connections to the database, and its jobs."""

from dataclasses import dataclass, field
from enum import Enum

from masterjob.election.core.actions import (
    Abandon,
    Action,
    RecordTransition,
    SetStopTimeout,
    StartJob,
    StopJob,
)
from masterjob.election.core.commands import StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, Failure, JobStarted, JobStopped, Reply, Shutdown
from masterjob.election.core.session import NEVER
from masterjob.election.values import Identity, Term
from tests.exploration.chance import MIDDLE
from tests.exploration.clocks import RUNNING_TIME_START

_NOUNS = {
    "OpenSession": "opening of a session",
    "Renew": "heartbeat",
    "ReadInventory": "inventory query",
    "ReadHeldTerms": "query for held terms",
    "ListSessions": "query for sessions",
    "Evict": "eviction",
    "EnsureLocks": "insertion of rows",
    "ListVacancies": "query for free locks",
    "Claim": "claim",
    "Move": "change of timing",
    "Release": "release",
    "CloseSession": "closing of a session",
}


def noun_of(command: StoreCommand[object]) -> str:
    """Return what the stories call the command."""
    return _NOUNS[type(command).__name__]


class Stage(Enum):
    """How far a call has come."""

    REQUESTED = "the database has not executed it"
    ANSWERED = "the answer is on its way"
    LOST = "no answer will come"


class Link(Enum):
    """What the network does with the calls of a process."""

    UP = "carries everything"
    CUT = "carries nothing"
    DEAF = "carries requests, but no answers"


@dataclass(eq=False, slots=True)
class Call:
    """A command on its way to the database or back."""

    command: StoreCommand[object]
    stage: Stage = Stage.REQUESTED
    answer: object = None
    is_held_back: bool = False
    """Whether time may pass before its next stage."""


@dataclass(eq=False, slots=True)
class Run:
    """A job from the call of its start to the return of its stop."""

    term: Term
    is_stopping: bool = False
    stop_is_slow: bool = False
    stop_until: float = NEVER
    """When its stop has to return."""
    is_excused: bool = False
    """Whether it may run beside another one, since its process was frozen for too long."""


@dataclass(eq=False)
class Process:
    """The working copy of one process."""

    name: str
    elector: Elector = field(init=False)
    connections: dict[str, list[Call]] = field(default_factory=dict)
    """The calls of each connection in their order; only the first is on its way."""
    strays: list[Call] = field(default_factory=list)
    """Calls that the elector has abandoned."""
    runs: dict[str, Run] = field(default_factory=dict)
    stop_timeouts: dict[str, float] = field(default_factory=dict)
    link: Link = Link.UP
    is_alive: bool = True
    is_closing: bool = False
    frozen_since: float | None = None
    frozen_for: float = 0.0
    """How long it was frozen before."""
    last_id: int = 0
    sentences: list[str] = field(default_factory=list)
    """What it has done in this step."""
    has_abandoned: bool = False
    """Whether the elector has given up a command in this step."""

    def __post_init__(self) -> None:
        self._replace_elector()

    def _replace_elector(self) -> None:
        self.elector = Elector(Identity(self.name), MIDDLE, self.new_id)
        self.elector._state.running_time = RUNNING_TIME_START

    def new_id(self) -> str:
        """Return a session id that is not used again."""
        self.last_id += 1
        return f"{self.name}/{self.last_id}"

    # --- the elector ---

    def step(self, event: CoreEvent, now: float) -> None:
        """Let the elector handle an event, and do what it orders."""
        for action in self.elector.handle(event, now):
            if isinstance(action, StoreCommand):
                self._send(Call(action))
            else:
                self._execute(action, now)
        if self.is_closing and self.elector.is_idle:
            self.die()

    def _execute(self, action: Action, now: float) -> None:
        match action:
            case Abandon(command):
                self._abandon(command)
            case SetStopTimeout(term, seconds):
                self.stop_timeouts[term.lock_name] = seconds
            case StartJob(term):
                self.runs[term.lock_name] = Run(term)
                self.sentences.append(f"{self.name} starts the job of {term.lock_name}")
                self.step(JobStarted(term), now)
            case StopJob(term, reason):
                run = self.runs[term.lock_name]
                run.is_stopping = True
                run.stop_until = now + max(0.0, self.stop_timeouts[term.lock_name] - self.frozen_for)
                self.sentences.append(f"{self.name} stops the job of {term.lock_name}: {reason}")
            case RecordTransition(entry):
                self.sentences.append(entry.reason)

    def return_from_stop(self, lock_name: str, now: float) -> None:
        """Let the job's stop return."""
        run = self.runs.pop(lock_name)
        self.step(JobStopped(run.term), now)

    # --- calls ---

    def _send(self, call: Call) -> None:
        calls = self.connections.setdefault(call.command.connection_name, [])
        calls.append(call)
        if len(calls) == 1:
            self._transmit(call)

    def _transmit(self, call: Call) -> None:
        if self.link is Link.CUT:
            call.stage = Stage.LOST
            self.sentences.append(f"{self.name}'s {noun_of(call.command)} is lost")

    def _remove_first(self, connection: str) -> Call:
        calls = self.connections[connection]
        call = calls.pop(0)
        if calls:
            self._transmit(calls[0])
        else:
            del self.connections[connection]
        return call

    def _abandon(self, command: StoreCommand[object]) -> None:
        self.has_abandoned = True
        self.sentences.append(f"{self.name} gives up its {noun_of(command)}")
        calls = self.connections.get(command.connection_name, [])
        if calls and calls[0].command is command:
            call = self._remove_first(command.connection_name)
            if call.stage is not Stage.LOST:
                self.strays.append(call)
        else:
            calls[:] = [each for each in calls if each.command is not command]

    def deliver(self, connection: str, now: float) -> None:
        """Let the elector receive the answer of the first call."""
        call = self._remove_first(connection)
        self.step(Reply(call.command, call.answer), now)

    def deliver_stray(self, index: int, now: float) -> None:
        """Let the elector receive the answer of a call that it has abandoned."""
        call = self.strays.pop(index)
        self.step(Reply(call.command, call.answer), now)

    def on_executed(self, place: str | int, answer: object) -> None:
        """Note that the database has executed a call: the first of a connection, or an abandoned one."""
        call = self.strays[place] if isinstance(place, int) else self.connections[place][0]
        call.answer = answer
        call.stage = Stage.LOST if self.link is Link.DEAF else Stage.ANSWERED
        if isinstance(place, int) and (not self.is_alive or call.stage is Stage.LOST):
            del self.strays[place]

    def fail(self, connection: str, now: float) -> None:
        """Let the elector receive an error in place of the answer."""
        call = self._remove_first(connection)
        self.step(Failure(call.command, "the connection was lost"), now)

    # --- faults ---

    def set_link(self, link: Link) -> None:
        """Change the network. What is on its way is lost with it: what comes late is a call that is held back."""
        self.link = link
        for calls in self.connections.values():
            if link is Link.CUT or (link is Link.DEAF and calls[0].stage is Stage.ANSWERED):
                calls[0].stage = Stage.LOST

    def freeze(self, now: float) -> None:
        """Let the process stand still."""
        self.frozen_since = now

    def resume(self, now: float) -> None:
        """Let a frozen process run again; its jobs are excused if it was frozen for longer than its margin."""
        assert self.frozen_since is not None
        duration = now - self.frozen_since
        self.frozen_since = None
        self.frozen_for += duration
        for lock_name, run in self.runs.items():
            if duration > self.stop_timeouts[lock_name] or run.stop_until < now:
                run.is_excused = True
                run.stop_until = max(run.stop_until, now)

    def shut_down(self, now: float) -> None:
        """Let the elector end all terms, and then the process."""
        self.is_closing = True
        self.step(Shutdown("the process ends"), now)

    def die(self) -> None:
        """End the process; the database may still receive what it has sent."""
        self.is_alive = False
        self.frozen_since = None
        self.runs.clear()
        self.strays += [calls[0] for calls in self.connections.values() if calls[0].stage is Stage.REQUESTED]
        self.connections.clear()
        self.stop_timeouts.clear()
        self.link = Link.UP
        self._replace_elector()
