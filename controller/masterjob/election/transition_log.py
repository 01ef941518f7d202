"""Writes the steps of the election to the log."""

import logging
from collections.abc import Sequence

from masterjob.election.core.actions import Action, Notice, RecordTransition, StopJob
from masterjob.election.core.commands import StoreCommand
from masterjob.election.core.events import CoreEvent, Failure, JobStartFailed, Reply
from masterjob.election.values import HistoryEntry, Term, TransitionKind
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob")

_LOG_LEVELS = {
    TransitionKind.START_FAILED: logging.WARNING,
    TransitionKind.FAILED: logging.WARNING,
    TransitionKind.EVICTED: logging.WARNING,
    TransitionKind.OVERRUN: logging.ERROR,
    # What another line says at the same moment: the eviction, the stop of the job.
    TransitionKind.LAST_HEARTBEAT: logging.DEBUG,
    TransitionKind.TRUST_ENDED: logging.DEBUG,
}


class TransitionLog:
    """Logs every transition in the words of the history, every stop of a job when it begins, and failed commands.

    A database that cannot be used is not logged here: the store does, once for all commands.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._failing_commands: set[type[StoreCommand[object]]] = set()

    def log(self, event: CoreEvent, actions: Sequence[Action]) -> None:
        """Log a step: its transitions, its stops, and a command that failed for the first time in a row."""
        match event:
            case Failure(command, error, is_outage=False):
                self._log_failure(command, error)
            case Reply(command):
                self._failing_commands.discard(type(command))
        for action in actions:
            match action:
                case RecordTransition(entry):
                    self._log_transition(entry)
                case StopJob(term, reason) if not isinstance(event, JobStartFailed):  # its failure was logged
                    self._log_stop(term, reason)
                case Notice(text):
                    logger.warning("%s", text, extra=log_fields(instance=self._instance, event="notice"))

    def _log_transition(self, entry: HistoryEntry) -> None:
        fields = log_fields(
            lock=entry.lock_name, term=entry.term, instance=entry.instance, event=entry.kind, reason=entry.reason
        )
        level = _LOG_LEVELS.get(entry.kind, logging.INFO)
        logger.log(level, "%s (term %s)", entry.reason, entry.term, extra=fields)

    def _log_stop(self, term: Term, reason: str) -> None:
        """Log the stop when it begins: the history follows only once the lock is released."""
        fields = log_fields(
            lock=term.lock_name, term=term.number, instance=self._instance, event="stopping", reason=reason
        )
        logger.info("%s: stopping the job: %s", term.lock_name, reason, extra=fields)

    def _log_failure(self, command: StoreCommand[object], error: str) -> None:
        if command.failure_message is not None and type(command) not in self._failing_commands:
            self._failing_commands.add(type(command))
            fields = log_fields(instance=self._instance, event="failed command", reason=error)
            logger.warning("%s: %s", command.failure_message, error, extra=fields)
