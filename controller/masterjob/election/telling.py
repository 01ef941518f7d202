"""What the log says of the steps of the election."""

import logging
from collections.abc import Iterable

from masterjob.election.machine.actions import Abandon, Action, Say
from masterjob.election.machine.commands import (
    Claim,
    Command,
    Ensure,
    Evict,
    LookAtSessions,
    LookForFree,
    Move,
    Record,
    Release,
    Renew,
)
from masterjob.election.machine.events import Event, Failure, Reply
from masterjob.election.values import Kind

logger = logging.getLogger("masterjob")

_LEVELS = {Kind.START_FAILED: logging.WARNING, Kind.EVICTED: logging.WARNING, Kind.OVERRUN: logging.ERROR}
_ATTEMPTS: dict[type[Command], str] = {
    Ensure: "the rows of locks cannot be written, which is tried again",
    LookAtSessions: "the sessions of others cannot be read, which is tried again",
    LookForFree: "free locks cannot be looked for, which is tried again",
    Claim: "a claim got no answer, and is tried again",
    Evict: "an eviction got no answer, and is tried again",
    Move: "a change of timing got no answer, and is tried again",
    Release: "a release got no answer, and is tried again",
    Record: "the history lacks some transitions",
}


class Teller:
    """Tells people of every transition in the words that the history has, of heartbeats, and of what fails."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._failing: set[type[Command]] = set()

    def tell(self, event: Event, actions: Iterable[Action]) -> None:
        """Log a step. A heartbeat that fails is told each time, another command the first time in a row."""
        match event:
            case Failure(Renew(), error):
                logger.warning("a heartbeat of %s failed: %s", self._instance, error)
            case Failure(command, error):
                self._tell_failure(command, error)
            case Reply(command):
                self._failing.discard(type(command))
        for action in actions:
            match action:
                case Say(entry):
                    logger.log(_LEVELS.get(entry.kind, logging.INFO), "%s (term %s)", entry.reason, entry.term)
                case Abandon(Renew()):
                    logger.warning("a heartbeat of %s was not answered in time", self._instance)
                case Abandon(command):
                    self._tell_failure(command, "no answer in time")

    def _tell_failure(self, command: Command, error: str) -> None:
        words = _ATTEMPTS.get(type(command))
        if words is not None and type(command) not in self._failing:
            self._failing.add(type(command))
            logger.warning("%s: %s", words, error)
