"""The jobs of one instance, and the term that each of them runs on."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.election.core.actions import SetStopTimeout, StartJob, StopJob
from masterjob.election.core.events import CoreEvent, JobRunChanged, JobStarted, JobStartFailed, JobStopped
from masterjob.election.ports import Job
from masterjob.election.term import Fence, LiveTerm
from masterjob.election.values import Term
from masterjob.errors import describe
from masterjob.job_status import RunStatus

JobAction = StartJob | SetStopTimeout | StopJob
"""The actions of the core that concern a job."""


@dataclass(frozen=True, slots=True)
class _RunReport:
    """The `Report` of one run."""

    term: Term
    submit: Callable[[CoreEvent], None]

    def started(self) -> None:
        self.submit(JobStarted(self.term))

    def start_failed(self, error: BaseException) -> None:
        self.submit(JobStartFailed(self.term, describe(error)))

    def progress(self, run: RunStatus) -> None:
        self.submit(JobRunChanged(self.term, run))

    def stopped(self) -> None:
        self.submit(JobStopped(self.term))


class JobRuns:
    """Starts and stops the jobs; their reports become events, passed to ``submit``."""

    def __init__(
        self, fence: Fence, trust_left: Callable[[Term], float], submit: Callable[[CoreEvent], None]
    ) -> None:
        self._fence = fence
        self._trust_left = trust_left
        self._submit = submit
        self._jobs: dict[str, Job] = {}
        self._terms: dict[Term, LiveTerm] = {}

    def set_job(self, lock_name: str, job: Job) -> None:
        """Set the job of the lock."""
        self._jobs[lock_name] = job

    def remove_job(self, lock_name: str) -> None:
        """Remove the job of a lock that this instance does not take part in any more."""
        self._jobs.pop(lock_name, None)

    def live_term(self, term: Term) -> LiveTerm | None:
        """Return the term as its job sees it, if the job was started and not stopped since."""
        return self._terms.get(term)

    def execute(self, action: JobAction) -> None:
        """Start or stop the job of the action's term, or set its stop timeout."""
        job = self._jobs[action.term.lock_name]
        match action:
            case StartJob(term):
                live_term = self._terms[term] = LiveTerm(term, lambda: self._trust_left(term), self._fence)
                job.start(live_term, _RunReport(term, self._submit))
            case SetStopTimeout(_, stop_timeout):
                job.set_stop_timeout(stop_timeout)
            case StopJob(term):
                job.stop()
                self.forget(term)

    def forget(self, term: Term) -> None:
        """Forget a term whose job has stopped."""
        self._terms.pop(term, None)

    def after_fork_in_child(self) -> None:
        """End every term in a forked child: only the parent is master."""
        for live_term in list(self._terms.values()):
            live_term.after_fork_in_child()

    def stop_all(self) -> None:
        """Stop every job that runs, even if others cannot be stopped."""
        for term in list(self._terms):
            with contextlib.suppress(Exception):
                self._jobs[term.lock_name].stop()
