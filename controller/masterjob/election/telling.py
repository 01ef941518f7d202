"""What the log says of a step of the election."""

import logging
from collections.abc import Iterable

from masterjob.election.machine.actions import Abandon, Action, Say
from masterjob.election.machine.commands import Renew
from masterjob.election.machine.events import Event, Failure
from masterjob.election.values import Kind

logger = logging.getLogger("masterjob")

_LEVELS = {Kind.START_FAILED: logging.WARNING, Kind.EVICTED: logging.WARNING, Kind.OVERRUN: logging.ERROR}


def tell_people(instance: str, event: Event, actions: Iterable[Action]) -> None:
    """Log every transition, in the words that the history has, and heartbeats that fail."""
    match event:
        case Failure(Renew(), error):
            logger.warning("a heartbeat of %s failed: %s", instance, error)
    for action in actions:
        match action:
            case Say(entry):
                logger.log(_LEVELS.get(entry.kind, logging.INFO), "%s (term %s)", entry.reason, entry.term)
            case Abandon(Renew()):
                logger.warning("a heartbeat of %s was not answered in time", instance)
