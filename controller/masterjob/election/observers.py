"""Shows others what an instance does: metrics, health, the status of resources.

A thread of its own calls the observers, in the order of the steps. An observer that is slow or fails therefore
cannot disturb the election.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from masterjob.election.core.actions import Action
from masterjob.election.core.events import CoreEvent, Tick

logger = logging.getLogger("masterjob")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an instance: an event, its time on the local clock, and the actions that it caused."""

    instance: str
    time: float
    event: CoreEvent
    actions: tuple[Action, ...]


Observer = Callable[[Step], None]
"""Called for every step, except for ticks that caused nothing."""


class ObserverThread:
    """The observers of one instance; observers may be added to the list at any time."""

    def __init__(self, instance: str, observers: Sequence[Observer]) -> None:
        self._instance = instance
        self._observers = observers
        self._queue: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def publish(self, time: float, event: CoreEvent, actions: Sequence[Action]) -> None:
        """Queue a step for the observers, without blocking. Call it from one thread at a time."""
        if not self._observers or (isinstance(event, Tick) and not actions):
            return
        self._queue.put(Step(self._instance, time, event, tuple(actions)))
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="masterjob-observers", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started now: retried at the next step
                thread.start()
                self._thread = thread

    def close(self, timeout: float) -> None:
        """Publish what is queued, then end the thread; wait for that at most ``timeout`` seconds."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (step := self._queue.get()) is not None:
            for observer in tuple(self._observers):
                try:
                    observer(step)
                except Exception:
                    logger.exception("an observer of the election failed")
