"""What this instance does as master, put together from the steps of its election.

Source: design section 6.3.
"""

import threading
from collections.abc import Iterator

from masterjob.election.machine.actions import Say, StartJob, StopJob
from masterjob.election.machine.events import Failure, Reply, StartFailed, Stopped
from masterjob.election.observing import Seen
from masterjob.election.values import Entry, Term
from masterjob.kube.status.facts import Doing, Phase


class Doings:
    """The newest term of each lock that this instance served. `take_in` is for one thread, the rest for any."""

    def __init__(self) -> None:
        self._doings: dict[str, Doing] = {}
        self._lock = threading.Lock()

    def of(self, lock_name: str) -> Doing | None:
        """What this instance does, or did last, for the lock."""
        with self._lock:
            return self._doings.get(lock_name)

    def serves(self, lock_name: str) -> bool:
        """Whether this instance is its master, as far as it was told."""
        doing = self.of(lock_name)
        return doing is not None and doing.phase in (Phase.RUNNING, Phase.STOPPING)

    def take_in(self, seen: Seen) -> list[str]:
        """Take in one step of the election; return the locks of which there is something new to tell."""
        with self._lock:
            return [term.lock_name for term, doing in self._changes(seen) if self._put(term, doing)]

    def _changes(self, seen: Seen) -> Iterator[tuple[Term, Doing]]:
        """What happened comes before what was ordered because of it."""
        match seen.event:
            case StartFailed(term, error):
                yield term, Doing(term.number, Phase.FAILED, f"start failed: {error}")
            case Stopped(term):
                yield term, self._ended(term)
        for action in seen.actions:
            match action:
                case StartJob(term):
                    yield term, Doing(term.number, Phase.RUNNING)
                case StopJob(term, why):
                    yield term, self._stopping(term, why)

    def _ended(self, term: Term) -> Doing:
        """A start that failed stays the reason why nothing runs."""
        before = self._doings.get(term.lock_name)
        if before is not None and before.phase is Phase.FAILED and before.term == term.number:
            return before
        return Doing(term.number, Phase.STOPPED)

    def _stopping(self, term: Term, why: str) -> Doing:
        before = self._ended(term)
        return before if before.phase is Phase.FAILED else Doing(term.number, Phase.STOPPING, why)

    def _put(self, term: Term, doing: Doing) -> bool:
        changed = self._doings.get(term.lock_name) != doing
        self._doings[term.lock_name] = doing
        return changed


def told(seen: Seen) -> list[Entry]:
    """Return what this step adds to the history."""
    return [action.entry for action in seen.actions if isinstance(action, Say)]


def answered(seen: Seen) -> bool | None:
    """Return whether the database gave an answer; None where this step says nothing of it."""
    return isinstance(seen.event, Reply) if isinstance(seen.event, Reply | Failure) else None
