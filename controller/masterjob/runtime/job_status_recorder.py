"""Writes the runs of this instance's jobs to the database, for people.

It is an observer of the election with a thread of its own, and never on the election's path: a database that is
slow or away delays only what people read. Only the newest status of each lock is written, and only if it has
changed.
"""

import contextlib
import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.workqueue import Workqueue
from masterjob.election.core.events import JobRunChanged, JobStopped
from masterjob.election.observers import Step
from masterjob.errors import StoreUnavailable
from masterjob.job_status import FINAL_PHASES, RunRecord

logger = logging.getLogger("masterjob")

COALESCE_DELAY = 0.1
"""Seconds to wait for the next phase before one is written."""

_MAX_BATCH_SIZE = 100
_RETRY_BACKOFF = Backoff(0.5, 10.0)


class RunDatabase(Protocol):
    """The database, as far as the recorder needs it. Its methods raise `StoreUnavailable`."""

    def write_runs(self, records: Iterable[RunRecord]) -> None:
        """Write the status of runs."""

    def disable_completed(self, lock_name: str, instance: str) -> None:
        """Disable the lock of a job that has completed and must not run again."""


class JobStatusRecorder:
    """The recorder of one instance. Any thread may call its methods; its own thread starts with the first run."""

    def __init__(self, instance: str, database: RunDatabase) -> None:
        self._instance = instance
        self._database = database
        self._queue = Workqueue()
        self._job_names: dict[str, str] = {}
        self._newest: dict[str, RunRecord] = {}
        self._written: dict[str, RunRecord] = {}
        self._completed: set[str] = set()
        """Locks that must be disabled, because their jobs have completed for good."""
        self._failures = 0
        self._thread: threading.Thread | None = None

    def set_job_name(self, lock_name: str, job_name: str) -> None:
        """Set the name of the job that the next run of the lock executes."""
        self._job_names[lock_name] = job_name

    def observe(self, step: Step) -> None:
        """Note what a step of the election changes. Called on one thread."""
        match step.event:
            case JobRunChanged(term, run):
                newest = self._newest.get(term.lock_name)
                is_same_term = newest is not None and newest.term == term.number
                name = newest.job if newest and is_same_term else self._job_names.get(term.lock_name, "")
                if run.is_final:
                    self._completed.add(term.lock_name)
                self._note(RunRecord(term.lock_name, name, self._instance, term.number, run))
            case JobStopped(term):
                newest = self._newest.get(term.lock_name)
                if newest and newest.term == term.number and newest.run.phase not in FINAL_PHASES:
                    self._note(replace(newest, run=replace(newest.run, since=step.time), is_over=True))

    def _note(self, record: RunRecord) -> None:
        self._newest[record.lock_name] = record
        self._queue.add(record.lock_name, delay=COALESCE_DELAY)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="masterjob-job-status", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started now: retried with the next status
                thread.start()
                self._thread = thread

    def wait_for_completions(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until the locks of completed jobs are disabled, before their release."""
        if self._completed:
            self._queue.wait_idle(timeout)

    def close(self, timeout: float) -> None:
        """Write what is queued at once, for up to ``timeout`` seconds, and end."""
        self._queue.drain()
        if self._thread is not None:
            self._thread.join(timeout)

    # --- the thread

    def _run(self) -> None:
        while (lock_names := self._queue.get_batch(_MAX_BATCH_SIZE)) is not None:
            try:
                self._write(lock_names)
                self._failures = 0
            except Exception as error:  # a defect must not end the thread either
                if not isinstance(error, StoreUnavailable):
                    logger.exception("a defect while the status of jobs was written; it is tried again")
                logger.debug("the status of jobs is written later: %s", error)
                self._queue.pause(_RETRY_BACKOFF.delay(self._failures))
                self._queue.add(*lock_names)
                self._failures += 1
            self._queue.done(*lock_names)

    def _write(self, lock_names: list[str]) -> None:
        for lock_name in self._completed.intersection(lock_names):
            self._database.disable_completed(lock_name, self._instance)
            self._completed.discard(lock_name)
        newest = {name: self._newest[name] for name in lock_names}
        changed = [record for name, record in newest.items() if self._written.get(name) is not record]
        if changed:
            self._database.write_runs(changed)
            self._written.update(newest)
