"""Threads that execute commands: each has one connection, and executes its commands in order.

A command that hangs in the network must not delay those behind it. When it is abandoned, its worker is abandoned
too, and the other commands continue on a fresh connection.
"""

import threading
from collections import deque
from collections.abc import Callable

from masterjob.election.core.commands import CONTROL_CONNECTION, CloseSession, StoreCommand
from masterjob.election.core.events import CoreEvent, Failure, Reply
from masterjob.election.ports import Store
from masterjob.errors import StoreUnavailable, describe

_MAX_CLOSED_WORKERS = 8
"""How many closed workers `ConnectionWorkers.close` still waits for."""


class ConnectionWorkers:
    """The workers of one instance, started on demand; used by one thread at a time.

    ``connect`` opens a connection whose calls take at most the given seconds. ``on_outcome`` gets each outcome.
    """

    def __init__(self, connect: Callable[[float], Store], on_outcome: Callable[[CoreEvent], None]) -> None:
        self._connect, self._on_outcome = connect, on_outcome
        self._open_workers: dict[str, ConnectionWorker] = {}
        self._closed_workers: deque[ConnectionWorker] = deque(maxlen=_MAX_CLOSED_WORKERS)

    def submit(self, command: StoreCommand[object]) -> None:
        """Execute the command on its connection; a session's connection closes after `CloseSession`."""
        if (worker := self._worker_for(command)) is None:
            return
        worker.enqueue(command)
        if isinstance(command, CloseSession):
            self._closed_workers.append(self._open_workers.pop(command.connection_name))
            worker.close()

    def abandon(self, command: StoreCommand[object]) -> None:
        """Cancel the command; those behind it continue on a fresh connection."""
        worker = self._open_workers.get(command.connection_name)
        pending = worker.cancel(command) if worker is not None else None
        if pending is not None:
            del self._open_workers[command.connection_name]
            for other in pending:
                self.submit(other)

    def close(self, timeout: float) -> None:
        """End each worker when its queue is empty; wait at most ``timeout`` seconds for each."""
        for worker in self._open_workers.values():
            worker.close()
        for worker in [*self._open_workers.values(), *self._closed_workers]:
            worker.join(timeout)

    def _worker_for(self, command: StoreCommand[object]) -> "ConnectionWorker | None":
        name = command.connection_name
        if name not in self._open_workers:
            role = CONTROL_CONNECTION if name == CONTROL_CONNECTION else "heartbeat"
            try:
                store = self._connect(command.timeout)
                self._open_workers[name] = ConnectionWorker(role, store, self._on_outcome)
            except RuntimeError as error:  # no thread can be started now
                self._on_outcome(Failure(command, str(error)))
        return self._open_workers.get(name)


class ConnectionWorker:
    """One connection, used by one thread."""

    def __init__(self, role: str, store: Store, on_outcome: Callable[[CoreEvent], None]) -> None:
        self._store = store
        self._on_outcome = on_outcome
        self._pending: deque[StoreCommand[object]] = deque()
        self._in_flight: StoreCommand[object] | None = None
        self._closing = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"masterjob-{role}", daemon=True)
        self._thread.start()

    def enqueue(self, command: StoreCommand[object]) -> None:
        """Execute the command after those in the queue."""
        with self._condition:
            self._pending.append(command)
            self._condition.notify()

    def cancel(self, command: StoreCommand[object]) -> list[StoreCommand[object]] | None:
        """Remove the command from the queue. If it is being executed, end the worker and return the queue."""
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
        """End the worker when its queue is empty."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def join(self, timeout: float) -> None:
        """Wait for the end, at most ``timeout`` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (command := self._next_command()) is not None:
            self._on_outcome(_execute(command, self._store))
        self._store.close()

    def _next_command(self) -> StoreCommand[object] | None:
        with self._condition:
            self._in_flight = None
            self._condition.wait_for(lambda: self._pending or self._closing)
            if self._pending:
                self._in_flight = self._pending.popleft()
            return self._in_flight


def _execute(command: StoreCommand[object], store: Store) -> CoreEvent:
    try:
        return Reply(command, command.execute(store))
    except StoreUnavailable as error:
        return Failure(command, str(error), is_outage=error.is_outage)
    except Exception as error:
        return Failure(command, describe(error))
