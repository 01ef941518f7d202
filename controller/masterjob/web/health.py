"""Whether this process is alive, and whether it is ready, for probes.

Alive: the election's threads turn, and no term stands on a trust that is over. Neither the database nor an API
server has a say in it: to restart a process helps neither. Ready: what the composition root asks for, such as the
first listing of the resources, and a database that answered when it was last asked.
"""

from collections.abc import Sequence

from masterjob.election.core.actions import Abandon
from masterjob.election.core.events import Failure, Reply
from masterjob.election.observers import Step
from masterjob.web.interfaces import ListInstances, ReadinessCheck

MAX_LAG = 1.0
"""Seconds for which the elector may be late: it only ever decides, which takes no time."""

MAX_TRUST_OVERRUN = 0.5
"""Seconds that trust may be over before the guard has dealt with it."""


class Health:
    """The questions of the probes. Each answer is a list of sentences, empty where all is well."""

    def __init__(self, instances: ListInstances, checks: Sequence[ReadinessCheck] = ()) -> None:
        self._instances = instances
        self._checks = tuple(checks)

    def liveness_problems(self) -> list[str]:
        """Return why this process should be ended, if so."""
        problems: list[str] = []
        for instance in self._instances():
            if instance.is_closed:
                problems.append("the election has failed, and has ended here")
                continue
            if (lag := instance.lag) > MAX_LAG:
                problems.append(f"the election's thread has not turned for {lag:.1f} s")
            if (trust_left := instance.trust_left) is not None and trust_left < -MAX_TRUST_OVERRUN:
                problems.append(f"a term stands on a trust that was over {-trust_left:.1f} s ago")
        return problems

    def readiness_problems(self) -> list[str]:
        """Return what this process waits for before it can do its part, if anything."""
        problems = [
            "the database was not reached yet"
            for instance in self._instances()
            if instance.unavailable_reason is not None
        ]
        problems += [problem for check in self._checks if (problem := check()) is not None]
        return list(dict.fromkeys(problems))


class DatabaseReadiness:
    """A check for readiness, and an observer: whether the database answered when an instance last asked it."""

    def __init__(self) -> None:
        self._unanswered_instances: set[str] = set()

    def on_step(self, step: Step) -> None:
        """Take in one step of an instance."""
        if isinstance(step.event, Reply):
            self._unanswered_instances.discard(step.instance)
        elif isinstance(step.event, Failure) or any(isinstance(action, Abandon) for action in step.actions):
            self._unanswered_instances.add(step.instance)

    def __call__(self) -> str | None:
        """Return what is wrong, if so."""
        return "the database did not answer when it was last asked" if self._unanswered_instances else None
