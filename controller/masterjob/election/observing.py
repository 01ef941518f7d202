"""Lets others see what an instance does, without a part in it: metrics, the status of resources.

What happened is handed on by a thread of its own, in the order in which the machine decided it. So whoever looks
on may take its time, and fail, and the election knows nothing of it.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from masterjob.election.machine.messages import Action, Event, Tick

logger = logging.getLogger("masterjob")


@dataclass(frozen=True, slots=True)
class Seen:
    """One step of an instance: what it was told, at which time of the local clock, and what it ordered."""

    instance: str
    at: float
    event: Event
    actions: tuple[Action, ...]


Observer = Callable[[Seen], None]
"""Called for every step in which something happened."""


class Gallery:
    """The observers of one instance."""

    def __init__(self, instance: str, observers: Sequence[Observer]) -> None:
        self._instance = instance
        self._observers = tuple(observers)
        self._steps: queue.SimpleQueue[Seen | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="masterjob observers", daemon=True)

    def start(self) -> None:
        """Begin to hand on."""
        if self._observers:
            self._thread.start()

    def show(self, at: float, event: Event, actions: Sequence[Action]) -> None:
        """Have a step seen; never blocks."""
        if self._observers and (actions or not isinstance(event, Tick)):
            self._steps.put(Seen(self._instance, at, event, tuple(actions)))

    def close(self, timeout: float) -> None:
        """Hand on what is left, for so many seconds at most."""
        if self._thread.is_alive():
            self._steps.put(None)
            self._thread.join(timeout)

    def _run(self) -> None:
        while (seen := self._steps.get()) is not None:
            for observer in self._observers:
                try:
                    observer(seen)
                except Exception:
                    logger.exception("an observer of the election has failed")
