"""Threads that perform commands: one lane is one thread and one connection, commands in order.

A command that nobody waits for any more must not hold up what comes after it, even when it hangs in the
network: its lane is left to its fate, and the rest goes on in a fresh one (design 3.4, "retried on a fresh
connection").
"""

import threading
from collections import deque
from collections.abc import Callable

from masterjob.election.errors import StoreUnavailable
from masterjob.election.machine.commands import Command
from masterjob.election.machine.events import Event, Failure, Reply
from masterjob.election.ports import Store


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
        return Failure(command, f"{type(error).__name__}: {error}")
