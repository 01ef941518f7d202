"""Lets others see what an instance does, without a part in it: metrics, the status of resources.

What happened is handed on by a thread of its own, in the order in which the machine decided it. So whoever looks
on may take its time, and fail, and the election knows nothing of it.
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
    """One step of an instance: what it was told, at which time of the local clock, and what it ordered."""

    instance: str
    time: float
    event: CoreEvent
    actions: tuple[Action, ...]


Observer = Callable[[Step], None]
"""Called for every step in which something happened."""


class ObserverThread:
    """The observers of one instance; the list may grow while the election goes on."""

    def __init__(self, instance: str, observers: Sequence[Observer]) -> None:
        self._instance = instance
        self._observers = observers
        self._queue: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def publish(self, time: float, event: CoreEvent, actions: Sequence[Action]) -> None:
        """Have a step seen; never blocks, and is called by one thread at a time."""
        if not self._observers or (isinstance(event, Tick) and not actions):
            return
        self._queue.put(Step(self._instance, time, event, tuple(actions)))
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="masterjob observers", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started just now: at the next step
                thread.start()
                self._thread = thread

    def close(self, timeout: float) -> None:
        """Hand on what is left, for so many seconds at most."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (step := self._queue.get()) is not None:
            for observer in tuple(self._observers):
                try:
                    observer(step)
                except Exception:
                    logger.exception("an observer of the election has failed")
