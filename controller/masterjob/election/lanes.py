"""Threads that perform commands: one lane is one thread and one connection, commands in order.

A command that nobody waits for any more must not hold up what comes after it, even when it hangs in the
network: its lane is left to its fate, and the rest goes on in a fresh one (design 3.4, "retried on a fresh
connection").
"""

import threading
from collections import deque
from collections.abc import Callable

from masterjob.election.errors import StoreUnavailable, told
from masterjob.election.machine.commands import CONTROL, Command, Depart
from masterjob.election.machine.events import Event, Failure, Reply
from masterjob.election.ports import Store

_CLOSED = 8
"""Lanes that have closed, and whose end is still waited for at ours."""


class Lanes:
    """The lanes of one instance, opened as they are needed; used by one thread at a time.

    ``connect`` makes a connection whose calls take so many seconds at most; ``done`` is handed each outcome.
    """

    def __init__(self, connect: Callable[[float], Store], done: Callable[[Event], None]) -> None:
        self._connect, self._done = connect, done
        self._open: dict[str, Lane] = {}
        self._closed: deque[Lane] = deque(maxlen=_CLOSED)

    def perform(self, command: Command) -> None:
        """Have the command performed on its lane; a heartbeat's lane closes after the last that it has to do."""
        if (lane := self._lane_of(command)) is None:
            return
        lane.put(command)
        if isinstance(command, Depart):
            self._closed.append(self._open.pop(command.lane))
            lane.close()

    def abandon(self, command: Command) -> None:
        """Wait for the command no more; what it held up goes on in a fresh lane."""
        lane = self._open.get(command.lane)
        waiting = lane.drop(command) if lane is not None else None
        if waiting is not None:
            del self._open[command.lane]
            for other in waiting:
                self.perform(other)

    def close(self, timeout: float) -> None:
        """End each when all it has to do is done; wait for each that many seconds at most."""
        for lane in self._open.values():
            lane.close()
        for lane in [*self._open.values(), *self._closed]:
            lane.join(timeout)

    def _lane_of(self, command: Command) -> "Lane | None":
        if command.lane not in self._open:
            name = CONTROL if command.lane == CONTROL else "heartbeat"
            try:
                self._open[command.lane] = Lane(name, self._connect(command.timeout), self._done)
            except RuntimeError as error:  # no thread can be started just now
                self._done(Failure(command, str(error)))
        return self._open.get(command.lane)


class Lane:
    """One connection, used by one thread."""

    def __init__(self, name: str, store: Store, done: Callable[[Event], None]) -> None:
        self._name = name
        self._store = store
        self._done = done
        self._waiting: deque[Command] = deque()
        self._current: Command | None = None
        self._closing = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"masterjob {name}", daemon=True)
        self._thread.start()

    def put(self, command: Command) -> None:
        """Perform the command after those that are waiting."""
        with self._condition:
            self._waiting.append(command)
            self._condition.notify()

    def drop(self, command: Command) -> list[Command] | None:
        """Forget the command. If it is being performed the lane is given up: return what was waiting in it."""
        with self._condition:
            if command is not self._current:
                if command in self._waiting:
                    self._waiting.remove(command)
                return None
            waiting = list(self._waiting)
            self._waiting.clear()
            self._closing = True
        self._store.abort()
        return waiting

    def close(self) -> None:
        """End when everything that waits is done."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def join(self, timeout: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (command := self._next()) is not None:
            self._done(_outcome(command, self._store))
        self._store.close()

    def _next(self) -> Command | None:
        with self._condition:
            self._current = None
            self._condition.wait_for(lambda: self._waiting or self._closing)
            if self._waiting:
                self._current = self._waiting.popleft()
            return self._current


def _outcome(command: Command, store: Store) -> Event:
    try:
        return Reply(command, command.perform(store))
    except StoreUnavailable as error:
        return Failure(command, str(error))
    except Exception as error:
        return Failure(command, told(error))
