"""Counts the times in which a job did not run: each once, by the instance that ended it.

The length and the cause come from the history, so that metric and history agree. It is read some seconds after the
job runs again, on a thread of its own: the last events of a database outage are written by the old master, once it
reaches the database too.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import RecordTransition
from masterjob.election.observers import Step
from masterjob.election.values import TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.lock_status import HistoryEvent

SETTLE_SECONDS = 10.0
"""After this time the history has the end of the gap: an instance without a database retries every two seconds."""

_NEVER = float("inf")
_EVENTS_TO_READ = 20

logger = logging.getLogger("masterjob")


class GapMeter:
    """An observer of the election. ``count_gap`` gets the lock, the cause and the seconds of each gap."""

    def __init__(
        self,
        read_history: Callable[[str, int], Sequence[HistoryEvent]],
        count_gap: Callable[[str, str, float], None],
    ) -> None:
        self._read_history, self._count_gap = read_history, count_gap
        self._due: dict[tuple[str, str], float] = {}
        """When to read the history, by instance and lock."""
        self._counted_until: dict[tuple[str, str], datetime] = {}
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def on_step(self, step: Step) -> None:
        """Note the jobs that run from now on."""
        locks = [
            action.entry.lock_name
            for action in step.actions
            if isinstance(action, RecordTransition) and action.entry.kind is TransitionKind.RUNNING
        ]
        if not locks:
            return
        with self._condition:
            self._due |= {(step.instance, name): step.time + SETTLE_SECONDS for name in locks}
            self._condition.notify()
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="masterjob-gap-meter", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started now: retried at the next step
                thread.start()
                self._thread = thread

    def count_due(self, now: float) -> float:
        """Read what is due, and count its gaps; return when to do so next."""
        with self._condition:
            due = [key for key, due_at in self._due.items() if due_at <= now]
            for key in due:
                del self._due[key]
        for key in due:
            try:
                self._count_new_gaps(*key)
            except StoreUnavailable as error:
                logger.debug("the history of %s could not be read for its metrics: %s", key[1], error)
                with self._condition:
                    self._due.setdefault(key, now + SETTLE_SECONDS)
            except Exception:  # a defect must not end the thread
                logger.exception("a gap of %s could not be counted", key[1])
        with self._condition:
            return min(self._due.values(), default=_NEVER)

    def _count_new_gaps(self, instance: str, lock_name: str) -> None:
        key = instance, lock_name
        for event in reversed(self._read_history(lock_name, _EVENTS_TO_READ)):
            is_new = key not in self._counted_until or event.at > self._counted_until[key]
            if event.kind == TransitionKind.RUNNING and event.instance == instance and is_new:
                self._counted_until[key] = event.at
                if event.vacant_for is not None:
                    self._count_gap(lock_name, event.vacancy_cause, event.vacant_for.total_seconds())

    def _run(self) -> None:
        while True:
            next_due_at = self.count_due(clock())
            with self._condition:
                if not self._due or min(self._due.values()) >= next_due_at:
                    self._condition.wait(None if next_due_at == _NEVER else max(0.0, next_due_at - clock()))
