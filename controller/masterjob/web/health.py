"""Liveness and readiness of this process, for probes.

Alive: the election's threads make progress, and no term outlives its trust. A database or an API server that fails
does not matter here, because a restart would not help. Ready: the conditions of the composition root hold, such as
the first list of the resources, and the database answered the last time.
"""

from collections.abc import Sequence

from masterjob.election.core.actions import Abandon
from masterjob.election.core.events import Failure, Reply
from masterjob.election.observers import Step
from masterjob.web.interfaces import ListRunners, ReadinessCheck

MAX_LAG = 1.0
"""Seconds for which the elector may be late: its decisions take no time."""

MAX_TRUST_OVERRUN = 0.5
"""Seconds for which trust may have ended before the watchdog has acted on it."""


class Health:
    """What the probes answer. Each method returns sentences, one a problem; an empty list means healthy."""

    def __init__(self, runners: ListRunners, checks: Sequence[ReadinessCheck] = ()) -> None:
        self._runners = runners
        self._checks = tuple(checks)

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
