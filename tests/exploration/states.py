"""The states of one process, each kept once: equal ones are shared by all worlds at the same time.

So what a move makes of a state is computed once, however many worlds contain the state.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from masterjob.election.core.commands import StoreCommand
from masterjob.election.core.session import NEVER
from masterjob.election.timing import Timing
from masterjob.election.values import Term
from tests.exploration.fingerprint import Fingerprint, fingerprint
from tests.exploration.process import Link, Process, Stage
from tests.exploration.snapshots import freeze, thaw

TIMING = Timing.of(4.0, stop_timeout=3.0, max_heartbeat_retry_count=1, check_master_interval=4.0)
"""The lease is 12 s, the margin 3.24 s and the trust 8.76 s, which is a little more than two heartbeats."""

CLOCK_STEP = TIMING.lease_duration + 1.0
"""Seconds by which the database's clock may be stepped, once."""

INSTANCE_NAMES = ("anna", "ben", "carl")


@dataclass(frozen=True, slots=True)
class CallSummary:
    """A call on its way, or one that was abandoned."""

    place: str | int
    """The connection, or the index of a call that was abandoned."""
    command: StoreCommand[object]
    stage: Stage
    is_held_back: bool


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A job that runs."""

    term: Term
    is_stopping: bool
    stop_is_slow: bool
    stop_until: float
    is_excused: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act made of a state."""

    state: "ProcessState"
    sentences: tuple[str, ...]
    has_abandoned: bool


@dataclass(eq=False, slots=True)
class ProcessState:
    """A process that is not being worked with; it does not change."""

    fingerprint: Fingerprint
    name: str
    is_alive: bool
    is_closing: bool
    frozen_since: float | None
    frozen_for: float
    link: Link
    tick_at: float
    calls: tuple[CallSummary, ...]
    strays: tuple[CallSummary, ...]
    runs: tuple[RunSummary, ...]
    _original: Process | None
    """The process itself, until a copy is needed."""
    _copy: bytes = b""
    numbers: dict[tuple[float, float], int] = field(default_factory=dict)
    """What `key_of` computed of its times at a moment."""
    _outcomes: dict[Hashable, Outcome] = field(default_factory=dict)

    def after(self, act: Callable[[Process], None], now: float, key: Hashable) -> Outcome:
        """Return what the act makes of a copy at this time; ``key`` identifies the act."""
        outcome = self._outcomes.get((now, key))
        if outcome is None:
            process = self._thaw()
            act(process)
            sentences, has_abandoned = tuple(process.sentences), process.has_abandoned
            process.sentences, process.has_abandoned = [], False
            outcome = self._outcomes[now, key] = Outcome(state_of(process), sentences, has_abandoned)
        return outcome

    def _thaw(self) -> Process:
        if self._original is not None:
            self._copy, self._original = freeze(self._original), None
        process = thaw(self._copy)
        assert isinstance(process, Process)
        return process

    def is_excused(self, run: RunSummary, now: float) -> bool:
        """Return whether the job may run beside another one: its process is frozen for longer than its margin."""
        return run.is_excused or (
            self.frozen_since is not None
            and (now > self.frozen_since + TIMING.stop_timeout or now > run.stop_until)
        )

    @property
    def is_hindered(self) -> bool:
        """Whether a fault keeps it from doing what it should."""
        return (
            self.frozen_since is not None
            or self.link is not Link.UP
            or any(call.is_held_back or call.stage is Stage.LOST for call in self.calls)
        )


_states: dict[Hashable, ProcessState] = {}


def forget_states() -> None:
    """Forget all states, so that a planted bug meets none that was computed without it."""
    _states.clear()


def state_of(process: Process) -> ProcessState:
    """Return the state of the process, which must not be changed afterwards."""
    print_ = fingerprint(process, frozenset(INSTANCE_NAMES))
    key = (print_, process.name, process.last_id)
    state = _states.get(key)
    if state is None:
        state = _states[key] = _summarize(process, print_)
    return state


def _summarize(process: Process, print_: Fingerprint) -> ProcessState:
    return ProcessState(
        print_,
        process.name,
        process.is_alive,
        process.is_closing,
        process.frozen_since,
        process.frozen_for,
        process.link,
        process.elector.next_tick_at() if process.is_alive else NEVER,
        tuple(
            CallSummary(name, calls[0].command, calls[0].stage, calls[0].is_held_back)
            for name, calls in process.connections.items()
        ),
        tuple(
            CallSummary(index, call.command, call.stage, is_held_back=True)
            for index, call in enumerate(process.strays)
        ),
        tuple(
            RunSummary(run.term, run.is_stopping, run.stop_is_slow, run.stop_until, run.is_excused)
            for run in process.runs.values()
        ),
        process,
    )
