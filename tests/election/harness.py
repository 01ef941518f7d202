"""One elector on virtual time, and a database that answers when the test lets it."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from random import Random
from typing import TypeVar

from masterjob.election.core.actions import Abandon, Action, RecordTransition
from masterjob.election.core.commands import OpenSession, Renew, StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, Declare, Failure, Reply, Tick
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, NewSession, Term, TransitionKind
from tests.simulation.memory import MemoryDatabase

EPOCH_MS = 1_700_000_000_000
TIMING = Timing.of(1.0, stop_timeout=0.5, check_master_interval=5.0)  # lease 3 s, margin 0.56 s, trust 2.44 s
SLOW = Timing.of(2.0, stop_timeout=0.5, check_master_interval=5.0)

MAX_TICKS, MAX_TICKS_PER_SECOND = 200, 20
"""The most ticks while the time advances: more mean that the elector is busy without an end."""

ActionT = TypeVar("ActionT", bound=Action)
CommandTypes = type[StoreCommand[object]] | tuple[type[StoreCommand[object]], ...]


class ElectorHarness:
    """Holds commands back until `answer`, `fail` or `answer_all`; the test also reports what jobs do."""

    def __init__(self, name: str = "me", database: MemoryDatabase | None = None) -> None:
        self.now = 100.0
        self.clock_offset = 0.0
        self.database = database or MemoryDatabase(self._clock_ms)
        self.store = self.database.connect()
        self.elector = Elector(Identity(name), Random(1), self._new_id)
        self.pending_commands: list[StoreCommand[object]] = []
        self.actions: list[Action] = []
        self._name = name
        self._last_id = 0

    def _clock_ms(self) -> int:
        return EPOCH_MS + int((self.now + self.clock_offset) * 1000)

    def _new_id(self) -> str:
        self._last_id += 1
        return f"{self._name}/{self._last_id}"

    # --- events ---

    def submit(self, event: CoreEvent) -> list[Action]:
        actions = self.elector.handle(event, self.now)
        for action in actions:
            assert all(getattr(action, field.name) is not None for field in fields(action)), action
            assert not isinstance(action, StoreCommand) or action.sent == self.now
        self.actions += actions
        self.pending_commands += [action for action in actions if isinstance(action, StoreCommand)]
        for action in actions:
            if isinstance(action, Abandon) and action.command in self.pending_commands:
                self.pending_commands.remove(action.command)
        return actions

    def declare(self, *names: str, timing: Timing = TIMING) -> None:
        for name in names:
            self.submit(Declare(name, timing))

    def answer(self, command: StoreCommand[object]) -> list[Action]:
        if command in self.pending_commands:
            self.pending_commands.remove(command)
        return self.submit(Reply(command, command.execute(self.store)))

    def fail(self, command: StoreCommand[object], error: str = "connection lost") -> list[Action]:
        self.pending_commands.remove(command)
        return self.submit(Failure(command, error))

    def lose_reply(self, command: StoreCommand[object]) -> list[Action]:
        command.execute(self.store)
        return self.fail(command, "the reply was lost")

    def answer_all(self, except_for: CommandTypes = ()) -> None:
        """Answer all pending commands, and those that follow from the answers."""
        for _ in range(200):
            to_answer = [command for command in self.pending_commands if not isinstance(command, except_for)]
            if not to_answer:
                return
            for command in to_answer:
                self.answer(command)
        raise AssertionError(f"does not settle: {self.pending_commands}")

    def advance(self, seconds: float, except_for: CommandTypes = ()) -> None:
        """Advance the time from tick to tick, and answer everything at once."""
        for _ in self._ticks(seconds):
            self.answer_all(except_for)

    def advance_without_replies(self, seconds: float) -> None:
        """Advance the time while the database does not answer."""
        self.advance(seconds, except_for=StoreCommand)

    def advance_refused(self, seconds: float) -> None:
        """Advance the time while the database refuses everything at once."""
        for _ in self._ticks(seconds):
            for command in list(self.pending_commands):
                self.fail(command, "connection refused")

    def _ticks(self, seconds: float) -> Iterator[None]:
        """Advance the time from tick to tick, and yield after each one."""
        end = self.now + seconds
        ticks_left = MAX_TICKS + MAX_TICKS_PER_SECOND * seconds
        while self.elector.next_tick_at() <= end:
            assert ticks_left > 0, "the elector is busy without an end"
            ticks_left -= 1
            self.now = max(self.now, self.elector.next_tick_at())
            self.submit(Tick())
            yield
        self.now = end
        self.submit(Tick())
        yield

    # --- state ---

    def become_master(self, *names: str) -> Term:
        self.declare(*names)
        self.answer_all()
        self.advance(0.5)
        term = self.elector.current_term(names[0])
        assert term is not None
        return term

    def add_rival(self, session_id: str = "rival/1", instance: str = "rival", lease_ms: int = 3000) -> None:
        self.store.open_session(NewSession(session_id, Identity(instance), lease_ms))

    def actions_of(self, action_type: type[ActionT]) -> list[ActionT]:
        return [action for action in self.actions if isinstance(action, action_type)]

    def pending(self, *command_types: type[StoreCommand[object]]) -> list[StoreCommand[object]]:
        return [command for command in self.pending_commands if isinstance(command, command_types)]

    def next_heartbeat(self) -> StoreCommand[object]:
        """Advance the time to the next heartbeat, and hold its answer back."""
        while not self.pending(OpenSession, Renew):
            self.advance(0.01, except_for=(OpenSession, Renew))
        (heartbeat,) = self.pending(OpenSession, Renew)
        return heartbeat

    def history(self) -> list[tuple[TransitionKind, str]]:
        return [(action.entry.kind, action.entry.reason) for action in self.actions_of(RecordTransition)]


def single(actions: Iterable[Action], action_type: type[ActionT]) -> ActionT:
    (action,) = [action for action in actions if isinstance(action, action_type)]
    return action
