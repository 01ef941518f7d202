"""Threads that perform commands: one lane is one thread and one connection, commands in order.

A command that nobody waits for any more must not hold up what comes after it, even when it hangs in the
network: its lane is left to its fate, and the rest goes on in a fresh one (design 3.4, "retried on a fresh
connection").
"""

import threading
from collections import deque
from collections.abc import Callable

from masterjob.election.core.commands import CONTROL_CONNECTION, CloseSession, StoreCommand
from masterjob.election.core.events import CoreEvent, Failure, Reply
from masterjob.election.ports import Store
from masterjob.errors import StoreUnavailable, describe

_MAX_CLOSED_WORKERS = 8
"""Lanes that have closed, and whose end is still waited for at ours."""


class ConnectionWorkers:
    """The lanes of one instance, opened as they are needed; used by one thread at a time.

    ``connect`` makes a connection whose calls take so many seconds at most; ``on_outcome`` is handed each outcome.
    """

    def __init__(self, connect: Callable[[float], Store], on_outcome: Callable[[CoreEvent], None]) -> None:
        self._connect, self._on_outcome = connect, on_outcome
        self._open_workers: dict[str, ConnectionWorker] = {}
        self._closed_workers: deque[ConnectionWorker] = deque(maxlen=_MAX_CLOSED_WORKERS)

    def submit(self, command: StoreCommand) -> None:
        """Have the command performed on its lane; a heartbeat's lane closes after the last that it has to do."""
        if (worker := self._worker_for(command)) is None:
            return
        worker.enqueue(command)
        if isinstance(command, CloseSession):
            self._closed_workers.append(self._open_workers.pop(command.connection_name))
            worker.close()

    def abandon(self, command: StoreCommand) -> None:
        """Wait for the command no more; what it held up goes on in a fresh lane."""
        worker = self._open_workers.get(command.connection_name)
        pending = worker.cancel(command) if worker is not None else None
        if pending is not None:
            del self._open_workers[command.connection_name]
            for other in pending:
                self.submit(other)

    def close(self, timeout: float) -> None:
        """End each when all it has to do is done; wait for each that many seconds at most."""
        for worker in self._open_workers.values():
            worker.close()
        for worker in [*self._open_workers.values(), *self._closed_workers]:
            worker.join(timeout)

    def _worker_for(self, command: StoreCommand) -> "ConnectionWorker | None":
        if command.connection_name not in self._open_workers:
            name = CONTROL_CONNECTION if command.connection_name == CONTROL_CONNECTION else "heartbeat"
            try:
                self._open_workers[command.connection_name] = ConnectionWorker(
                    name, self._connect(command.timeout), self._on_outcome
                )
            except RuntimeError as error:  # no thread can be started just now
                self._on_outcome(Failure(command, str(error)))
        return self._open_workers.get(command.connection_name)


class ConnectionWorker:
    """One connection, used by one thread."""

    def __init__(self, name: str, store: Store, on_outcome: Callable[[CoreEvent], None]) -> None:
        self._name = name
        self._store = store
        self._on_outcome = on_outcome
        self._pending: deque[StoreCommand] = deque()
        self._in_flight: StoreCommand | None = None
        self._closing = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"masterjob {name}", daemon=True)
        self._thread.start()

    def enqueue(self, command: StoreCommand) -> None:
        """Perform the command after those that are waiting."""
        with self._condition:
            self._pending.append(command)
            self._condition.notify()

    def cancel(self, command: StoreCommand) -> list[StoreCommand] | None:
        """Forget the command. If it is being performed the lane is given up: return what was waiting in it."""
        with self._condition:
            if command is not self._in_flight:
                if command in self._pending:
                    self._pending.remove(command)
                return None
            pending = list(self._pending)
            self._pending.clear()
            self._closing = True
        self._store.abort()
        return pending

    def close(self) -> None:
        """End when everything that waits is done."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def join(self, timeout: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (command := self._next_command()) is not None:
            self._on_outcome(_execute(command, self._store))
        self._store.close()

    def _next_command(self) -> StoreCommand | None:
        with self._condition:
            self._in_flight = None
            self._condition.wait_for(lambda: self._pending or self._closing)
            if self._pending:
                self._in_flight = self._pending.popleft()
            return self._in_flight


def _execute(command: StoreCommand, store: Store) -> CoreEvent:
    try:
        return Reply(command, command.execute(store))
    except StoreUnavailable as error:
        return Failure(command, str(error))
    except Exception as error:
        return Failure(command, describe(error))
