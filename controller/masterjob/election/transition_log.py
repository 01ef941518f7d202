"""Writes the steps of the election to the log."""

import logging
from collections.abc import Iterable

from masterjob.election.core.actions import Abandon, Action, RecordTransition
from masterjob.election.core.commands import Renew, StoreCommand
from masterjob.election.core.events import CoreEvent, Failure, Reply
from masterjob.election.values import TransitionKind

logger = logging.getLogger("masterjob")

_LOG_LEVELS = {
    TransitionKind.START_FAILED: logging.WARNING,
    TransitionKind.FAILED: logging.WARNING,
    TransitionKind.TRUST_ENDED: logging.WARNING,
    TransitionKind.EVICTED: logging.WARNING,
    TransitionKind.OVERRUN: logging.ERROR,
    TransitionKind.LAST_HEARTBEAT: logging.DEBUG,  # it was earlier, and the eviction says so
}


class TransitionLog:
    """Logs every transition, in the words of the history, and failed commands."""

    def __init__(self) -> None:
        self._failing_commands: set[type[StoreCommand[object]]] = set()

    def log(self, event: CoreEvent, actions: Iterable[Action]) -> None:
        """Log every transition, every failed heartbeat, and the first failure in a row of any other command."""
        match event:
            case Failure(command, error):
                self._log_failure(command, error)
            case Reply(command):
                self._failing_commands.discard(type(command))
        for action in actions:
            match action:
                case RecordTransition(entry):
                    logger.log(_LOG_LEVELS.get(entry.kind, logging.INFO), "%s (term %s)", entry.reason, entry.term)
                case Abandon(command):
                    self._log_failure(command, "no answer in time")

    def _log_failure(self, command: StoreCommand[object], error: str) -> None:
        is_repeated = type(command) in self._failing_commands and not isinstance(command, Renew)
        if command.failure_message is not None and not is_repeated:
            self._failing_commands.add(type(command))
            logger.warning("%s: %s", command.failure_message, error)
