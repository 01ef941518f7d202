"""Liveness and readiness of this process, for probes.

Alive: the election's threads make progress, and no term outlives its trust. A database or an API server that fails
does not matter here, because a restart would not help. Ready: the conditions of the composition root hold, such as
the first list of the resources, and the database answered the last time. A job that fails matters for neither: the
election gives it to another instance, and a restart of this one would not help.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from masterjob.election.core.actions import Abandon
from masterjob.election.core.events import Failure, JobRunChanged, JobStopped, Reply, Withdraw
from masterjob.election.observers import Step
from masterjob.job_status import RunPhase
from masterjob.web.interfaces import ListRunners, ReadinessCheck

MAX_LAG = 1.0
"""Seconds for which the elector may be late: its decisions take no time."""

MAX_TRUST_OVERRUN = 0.5
"""Seconds for which trust may have ended before the watchdog has acted on it."""


class Health:
    """What the probes answer. Each method returns sentences, one a problem; an empty list means healthy."""

    def __init__(
        self,
        runners: ListRunners,
        checks: Sequence[ReadinessCheck] = (),
        summarize_jobs: Callable[[], str] = str,
    ) -> None:
        self._runners = runners
        self._checks = tuple(checks)
        self.summarize_jobs = summarize_jobs
        """Returns one line on the jobs of this process, for people; empty if there is nothing to say."""

    def liveness_problems(self) -> list[str]:
        """Return why this process should be restarted."""
        problems: list[str] = []
        for runner in self._runners():
            if runner.is_closed:
                problems.append("the election has failed in this process, and has ended")
                continue
            if (lag := runner.lag) > MAX_LAG:
                problems.append(f"the election's thread is {lag:.1f} s late")
            if (trust_left := runner.trust_left) is not None and trust_left < -MAX_TRUST_OVERRUN:
                problems.append(f"a term goes on although its trust ended {-trust_left:.1f} s ago")
        return problems

    def readiness_problems(self) -> list[str]:
        """Return what this process still waits for."""
        problems = [
            "the database was not reached yet"
            for runner in self._runners()
            if runner.unavailable_reason is not None
        ]
        problems += [problem for check in self._checks if (problem := check()) is not None]
        return list(dict.fromkeys(problems))


class DatabaseReadiness:
    """A readiness check, fed as an observer: whether the database answered each instance the last time."""

    def __init__(self) -> None:
        self._unanswered_instances: set[str] = set()

    def on_step(self, step: Step) -> None:
        """Record the outcome of one step of an instance."""
        if isinstance(step.event, Reply):
            self._unanswered_instances.discard(step.instance)
        elif isinstance(step.event, Failure) or any(isinstance(action, Abandon) for action in step.actions):
            self._unanswered_instances.add(step.instance)

    def __call__(self) -> str | None:
        """Return the problem; None if there is none."""
        return "the database did not answer the last time" if self._unanswered_instances else None


class JobSummary:
    """The last run of each job in this process in one line, fed as an observer."""

    _MAX_NAMES = 10

    def __init__(self) -> None:
        self._phases: dict[tuple[str, str], RunPhase] = {}
        """By instance and lock. A run that has completed or failed stays until the next one."""

    def on_step(self, step: Step) -> None:
        """Record what one step of an instance changes."""
        match step.event:
            case JobRunChanged(term, run):
                self._phases[step.instance, term.lock_name] = run.phase
            case JobStopped(term):
                if self._phases.get((step.instance, term.lock_name)) not in (RunPhase.COMPLETED, RunPhase.FAILED):
                    self._phases.pop((step.instance, term.lock_name), None)
            case Withdraw(lock_name):
                self._phases.pop((step.instance, lock_name), None)

    def __call__(self) -> str:
        """Return the phases with the number of jobs, and the names of those that failed."""
        names: defaultdict[RunPhase, list[str]] = defaultdict(list)
        for (_, lock_name), phase in sorted(self._phases.copy().items()):
            names[phase].append(lock_name)
        counts = [f"{len(names[phase])} {phase}" for phase in RunPhase if names[phase]]
        if not counts:
            return ""
        failed = names[RunPhase.FAILED]
        shown = [*failed[: self._MAX_NAMES], *(["…"] if len(failed) > self._MAX_NAMES else [])]
        return f"last runs here: {', '.join(counts)}" + (f" ({', '.join(shown)})" if shown else "")
