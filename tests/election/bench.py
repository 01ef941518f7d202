"""One elector on a bench: virtual time, and a database that answers when the test says so."""

from collections.abc import Iterable
from random import Random
from typing import TypeVar

from masterjob.election.machine.actions import Abandon, Action, Say
from masterjob.election.machine.commands import Command, Open, Renew
from masterjob.election.machine.elector import Elector
from masterjob.election.machine.events import Declare, Event, Failure, Reply, Tick
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, Kind, NewSession, Term

from ..simulation.memory import MemoryDatabase

EPOCH_MS = 1_700_000_000_000
TIMING = Timing.of(1.0, stop_timeout=0.5, check_master_interval=5.0)  # lease 3 s, margin 0.56 s, trust 2.44 s

A = TypeVar("A", bound=Action)


class Bench:
    """Commands are held back until `answer`, `fail` or `settle`; jobs start and stop only as the test says."""

    def __init__(self, name: str = "me", database: MemoryDatabase | None = None) -> None:
        self.now = 100.0
        self.clock_offset = 0.0
        self.database = database or MemoryDatabase(self._clock_ms)
        self.store = self.database.connect()
        self.elector = Elector(Identity(name), Random(1), self._new_id)
        self.open: list[Command] = []
        self.actions: list[Action] = []
        self._name = name
        self._ids = 0

    def _clock_ms(self) -> int:
        return EPOCH_MS + int((self.now + self.clock_offset) * 1000)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._name}/{self._ids}"

    # --- what happens ---

    def tell(self, event: Event) -> list[Action]:
        actions = self.elector.handle(event, self.now)
        self.actions += actions
        self.open += [action for action in actions if isinstance(action, Command)]
        for action in actions:
            if isinstance(action, Abandon) and action.command in self.open:
                self.open.remove(action.command)
        return actions

    def declare(self, *names: str, timing: Timing = TIMING) -> None:
        for name in names:
            self.tell(Declare(name, timing))

    def answer(self, command: Command) -> list[Action]:
        if command in self.open:
            self.open.remove(command)
        return self.tell(Reply(command, command.perform(self.store)))

    def fail(self, command: Command, error: str = "connection lost") -> list[Action]:
        self.open.remove(command)
        return self.tell(Failure(command, error))

    def lose_reply(self, command: Command) -> list[Action]:
        command.perform(self.store)
        return self.fail(command, "the reply was lost")

    def settle(self, but: type[Command] | tuple[type[Command], ...] = ()) -> None:
        """Answer everything that is asked, and what is asked because of that."""
        for _ in range(200):
            waiting = [command for command in self.open if not isinstance(command, but)]
            if not waiting:
                return
            for command in waiting:
                self.answer(command)
        raise AssertionError(f"does not settle: {self.open}")

    def pass_time(self, seconds: float, but: type[Command] | tuple[type[Command], ...] = ()) -> None:
        """Let time pass as the elector wants to be woken, and answer everything at once."""
        end = self.now + seconds
        while self.elector.next_time() <= end:
            self.now = max(self.now, self.elector.next_time())
            self.tell(Tick())
            self.settle(but)
        self.now = end
        self.tell(Tick())
        self.settle(but)

    def pass_silence(self, seconds: float) -> None:
        """Let time pass while the database says nothing at all."""
        self.pass_time(seconds, but=Command)

    # --- what is there ---

    def become_master(self, *names: str) -> Term:
        self.declare(*names)
        self.settle()
        self.pass_time(0.5)
        term = self.elector.term_of(names[0])
        assert term is not None
        return term

    def rival(self, session_id: str = "rival/1", instance: str = "rival", lease_ms: int = 3000) -> None:
        self.store.open(NewSession(session_id, Identity(instance), lease_ms))

    def said(self, kind: type[A]) -> list[A]:
        return [action for action in self.actions if isinstance(action, kind)]

    def asked(self, *kinds: type[Command]) -> list[Command]:
        return [command for command in self.open if isinstance(command, kinds)]

    def heartbeat(self) -> Command:
        """Wait for the next heartbeat to be sent, and hold its answer back."""
        while not self.asked(Open, Renew):
            self.pass_time(0.01, but=(Open, Renew))
        (beat,) = self.asked(Open, Renew)
        return beat

    def history(self) -> list[tuple[Kind, str]]:
        return [(say.entry.kind, say.entry.reason) for say in self.said(Say)]


def only(actions: Iterable[Action], kind: type[A]) -> A:
    (action,) = [action for action in actions if isinstance(action, kind)]
    return action
