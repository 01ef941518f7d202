"""Whether this process is alive, and whether it is ready, for probes.

Alive: the election's threads turn, and no term stands on a trust that is over. Neither the database nor an API
server has a say in it: to restart a process helps neither. Ready: what the composition root asks for, such as the
first listing of the resources, and a database that answered when it was last asked.
"""

from collections.abc import Sequence

from masterjob.election.machine.actions import Abandon
from masterjob.election.machine.events import Failure, Reply
from masterjob.election.observing import Seen
from masterjob.web.ports import Check, Members

LATE = 1.0
"""Seconds for which the elector may be late: it only ever decides, which takes no time."""

OVERRUN = 0.5
"""Seconds that trust may be over before the guard has dealt with it."""


class Health:
    """The questions of the probes. Each answer is a list of sentences, empty where all is well."""

    def __init__(self, members: Members, checks: Sequence[Check] = ()) -> None:
        self._members = members
        self._checks = tuple(checks)

    def ails(self) -> list[str]:
        """Return why this process should be ended, if so."""
        found: list[str] = []
        for member in self._members():
            if member.over:
                found.append("the election has failed, and has ended here")
                continue
            if (late := member.late) > LATE:
                found.append(f"the election's thread has not turned for {late:.1f} s")
            if (left := member.trust_left) is not None and left < -OVERRUN:
                found.append(f"a term stands on a trust that was over {-left:.1f} s ago")
        return found

    def lacks(self) -> list[str]:
        """Return what this process waits for before it can do its part, if anything."""
        found = ["the database was not reached yet" for member in self._members() if member.trouble is not None]
        found += [said for check in self._checks if (said := check()) is not None]
        return list(dict.fromkeys(found))


class DatabaseAnswers:
    """A check for readiness, and an observer: whether the database answered when an instance last asked it."""

    def __init__(self) -> None:
        self._silent: set[str] = set()

    def see(self, seen: Seen) -> None:
        """Take in one step of an instance."""
        if isinstance(seen.event, Reply):
            self._silent.discard(seen.instance)
        elif isinstance(seen.event, Failure) or any(isinstance(each, Abandon) for each in seen.actions):
            self._silent.add(seen.instance)

    def __call__(self) -> str | None:
        """Return what is wrong, if so."""
        return "the database did not answer when it was last asked" if self._silent else None
