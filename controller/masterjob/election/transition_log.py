"""What the log says of the steps of the election."""

import logging
from collections.abc import Iterable

from masterjob.election.core.actions import Abandon, Action, RecordTransition
from masterjob.election.core.commands import (
    AppendHistory,
    Claim,
    EnsureLocks,
    Evict,
    ListSessions,
    ListVacancies,
    Move,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import CoreEvent, Failure, Reply
from masterjob.election.values import TransitionKind

logger = logging.getLogger("masterjob")

_LOG_LEVELS = {
    TransitionKind.START_FAILED: logging.WARNING,
    TransitionKind.EVICTED: logging.WARNING,
    TransitionKind.OVERRUN: logging.ERROR,
}
_FAILURE_MESSAGES: dict[type[StoreCommand], str] = {
    EnsureLocks: "the rows of locks cannot be written, which is tried again",
    ListSessions: "the sessions of others cannot be read, which is tried again",
    ListVacancies: "free locks cannot be looked for, which is tried again",
    Claim: "a claim got no answer, and is tried again",
    Evict: "an eviction got no answer, and is tried again",
    Move: "a change of timing got no answer, and is tried again",
    Release: "a release got no answer, and is tried again",
    AppendHistory: "the history lacks some transitions",
}


class TransitionLog:
    """Tells people of every transition in the words that the history has, of heartbeats, and of what fails."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._failing_commands: set[type[StoreCommand]] = set()

    def log(self, event: CoreEvent, actions: Iterable[Action]) -> None:
        """Log a step. A heartbeat that fails is told each time, another command the first time in a row."""
        match event:
            case Failure(Renew(), error):
                logger.warning("a heartbeat of %s failed: %s", self._instance, error)
            case Failure(command, error):
                self._log_failure(command, error)
            case Reply(command):
                self._failing_commands.discard(type(command))
        for action in actions:
            match action:
                case RecordTransition(entry):
                    logger.log(_LOG_LEVELS.get(entry.kind, logging.INFO), "%s (term %s)", entry.reason, entry.term)
                case Abandon(Renew()):
                    logger.warning("a heartbeat of %s was not answered in time", self._instance)
                case Abandon(command):
                    self._log_failure(command, "no answer in time")

    def _log_failure(self, command: StoreCommand, error: str) -> None:
        message = _FAILURE_MESSAGES.get(type(command))
        if message is not None and type(command) not in self._failing_commands:
            self._failing_commands.add(type(command))
            logger.warning("%s: %s", message, error)
