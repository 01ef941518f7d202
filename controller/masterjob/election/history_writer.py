"""Sends transitions to the history, and sends them again if that failed.

An outage of the database is written down by instances that cannot reach it, so the entries about it are those that
fail. They are kept, with the times at which they happened, and sent again once the database has answered anything.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from masterjob.election.core.actions import Action, RecordTransition
from masterjob.election.core.commands import StoreCommand
from masterjob.election.core.events import CoreEvent, Failure, Reply
from masterjob.election.ports import Store
from masterjob.election.values import HistoryEntry

MAX_KEPT_ENTRIES = 1_000
"""The most entries that wait for the database; if there are more, the oldest are lost."""

MAX_BATCH_SIZE = 100
"""The most entries of one attempt to write them again."""


@dataclass(frozen=True, eq=False)
class AppendHistory(StoreCommand[None]):
    """Adds transitions to the history."""

    entries: tuple[HistoryEntry, ...]

    failure_message = "transitions could not be written to the history (will be retried)"

    def execute(self, store: Store) -> None:
        """Write the entries."""
        store.append_history(self.entries)


@dataclass(frozen=True, eq=False)
class AppendMissingHistory(AppendHistory):
    """Adds transitions whose first attempt may have been executed."""

    def execute(self, store: Store) -> None:
        """Write the entries that are not there."""
        store.append_missing_history(self.entries)


class HistoryWriter:
    """Returns the commands that write the history of one instance."""

    def __init__(self) -> None:
        self._failed_entries: deque[HistoryEntry] = deque(maxlen=MAX_KEPT_ENTRIES)
        self._retry: AppendMissingHistory | None = None
        """The attempt in flight: only one at a time."""

    def commands_for(self, event: CoreEvent, actions: Iterable[Action], now: float) -> Iterator[AppendHistory]:
        """Yield what to send after this event, which caused these actions at the local time ``now``."""
        if entries := tuple(action.entry for action in actions if isinstance(action, RecordTransition)):
            yield AppendHistory(now, entries)
        match event:
            case Failure(AppendHistory() as command):
                # At the end of the queue, so that an entry that always fails blocks no other.
                self._failed_entries.extend(command.entries)
        if isinstance(event, Reply | Failure) and event.command is self._retry:
            self._retry = None
        if isinstance(event, Reply) and self._failed_entries and self._retry is None:
            batch = [self._failed_entries.popleft() for _ in range(min(MAX_BATCH_SIZE, len(self._failed_entries)))]
            self._retry = AppendMissingHistory(now, tuple(batch))
            yield self._retry
