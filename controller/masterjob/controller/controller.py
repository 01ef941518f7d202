"""The controller: has done what resources say, whether they were read from files or from Kubernetes.

It is told what is wanted, `apply` and `remove`, and works towards that until it is so: the switch in the database
first, then this process's part in the election. What fails is tried again and holds up no other lock; what cannot
be done is told once, and the last good state stays.

    the resources of a lock  ->  the oldest one counts ->  its switch is written  ->  the lock is declared
                                 the others: Conflict      (switches.py)              (participation.py)

What must not be here: where resources come from, SQL, what a job is.

Source: design sections 3.2, 6.1 and 6.2.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from masterjob.controller.participation import Participation, Resolve, UnknownJob
from masterjob.controller.switches import Switches
from masterjob.controller.workqueue import Workqueue
from masterjob.election.clock import clock
from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.jobs.named import JobSpec
from masterjob.process import Process
from masterjob.resource.manifest import Resource
from masterjob.settings import Settings
from masterjob.store.database import Database
from masterjob.store.verbs.declarations import Standing

logger = logging.getLogger("masterjob")

_THREADS = 4
_DATABASE = ""
"""In the queue, where no lock has that name: the database itself."""

LAST_WORD = 10.0
"""Seconds for which a deleted object's disable stays: until instances whose watch lags have heard of it."""


class Trouble(StrEnum):
    """Why a resource is not done as it says."""

    CONFLICT = "Conflict"
    INVALID = "Invalid"
    UNKNOWN_JOB = "UnknownJob"
    UNAVAILABLE = "DatabaseUnavailable"


@dataclass(frozen=True, slots=True)
class Problem:
    """What of a resource cannot be done, in a sentence."""

    trouble: Trouble
    words: str


class Controller:
    """Resources in, elections out. Every method returns at once and may be called from any thread.

    ``resolve`` gives the settings in effect for the options of a resource; ``jobs`` are those that may be named.
    ``settled`` is called with the name of a lock whenever what can be done for it at the moment was done.

    Raises:
        SettingError: no database is named, or none that can be used.
    """

    def __init__(
        self,
        process: Process,
        resolve: Resolve,
        jobs: Mapping[str, JobSpec],
        settled: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settled = settled
        self._part = Participation(process, resolve, jobs)
        self._switches = Switches(Database(resolve({}).database))
        self._lock = threading.Lock()
        self._claims: dict[str, dict[str, Resource]] = {}
        """The resources of each lock by their source, the one that counts first."""
        self._lock_of: dict[str, str] = {}
        self._gone: dict[str, dict[str, float]] = {}
        """Sources that spoke for a lock and do not any more, and from when on their switch may be taken back."""
        self._done: dict[str, int] = {}
        """The generation of each source that the database has."""
        self._problems: dict[str, Problem] = {}
        self._reached = False
        self._queue = Workqueue(self._work, _THREADS)

    def start(self) -> None:
        """Begin to work."""
        self._queue.start()
        self._queue.add(_DATABASE)

    def close(self, timeout: float = 2.0) -> None:
        """Change nothing any more; jobs and locks stay as they are until the process gives them up."""
        self._part.close()
        self._queue.close(timeout)

    def apply(self, source: str, resource: Resource) -> None:
        """Have done what the resource says. ``source`` names its switch: `file:NAMESPACE/NAME`, or a uid."""
        with self._lock:
            name = resource.lock_name
            if self._lock_of.get(source, name) != name:
                self._drop(source)
            before = self._claims.get(name, {}).get(source)
            self._claims[name] = _in_order({**self._claims.get(name, {}), source: resource})
            self._lock_of[source] = name
        if before != resource:
            self._queue.add(name)

    def remove(self, source: str) -> None:
        """The resource is gone for good: so are its switch and, with the last of them, our part in its lock."""
        with self._lock:
            if source in self._lock_of:
                self._drop(source)

    def repeat(self) -> None:
        """Look at everything again, also at switches that were written before: a slow net for what was lost."""
        with self._lock:
            self._switches.forget()
            names = list(self._claims)
        for name in names:
            self._queue.add(name)

    def doubt(self, source: str) -> None:
        """Have the switch of a resource written again: the database does not say what was written."""
        with self._lock:
            if (name := self._lock_of.get(source)) is not None:
                self._switches.forget(source)
                self._queue.add(name)

    def switches(self) -> Mapping[tuple[str, str], Standing]:
        """What the database has of the switches of resources, by lock and source; `StoreUnavailable` if nothing.

        Of a source that does not speak any more, `take_back` removes it.
        """
        return self._switches.standing()

    def take_back(self, lock_name: str, source: str) -> None:
        """Have the switch removed that a source left behind; it went while nobody was there to see it."""
        with self._lock:
            if source not in self._claims.get(lock_name, {}):
                self._gone.setdefault(lock_name, {})[source] = clock()
                self._queue.add(lock_name)

    def generation_done(self, source: str) -> int:
        """Return which generation of a resource the database has; 0 for none."""
        return self._done.get(source, 0)

    def settings_of(self, lock_name: str) -> Settings | None:
        """Return what is in effect for a lock, if this process takes part in it."""
        return self._part.settings_of(lock_name)

    def unreached(self) -> str | None:
        """Say that the database was not reached yet; None once it was."""
        return None if self._reached else "the database was not reached yet"

    def problem(self, source: str) -> Problem | None:
        """What of the resource cannot be done; None where all is as it says."""
        return self._problems.get(source)

    def wait_done(self, timeout: float) -> bool:
        """Wait until everything that was told is done, as far as it can be; False if it is not."""
        return self._queue.wait_done(timeout)

    def _drop(self, source: str) -> None:
        name = self._lock_of.pop(source)
        resource = self._claims[name].pop(source)
        wait = LAST_WORD if resource.origin is not None and not resource.enabled else 0.0
        self._gone.setdefault(name, {})[source] = clock() + wait
        self._problems.pop(source, None)
        self._done.pop(source, None)
        self._queue.add(name)

    # --- one lock; on one thread of the queue at a time

    def _reach(self) -> bool:
        """Find out whether the database is there and fit, also where there is no resource yet."""
        try:
            self._switches.standing()
        except StoreUnavailable as error:
            logger.debug("the database was not reached yet: %s", error)
            return False
        self._reached = True
        return True

    def _work(self, name: str) -> bool:
        if name == _DATABASE:
            return self._reach()
        with self._lock:
            claims = list(self._claims.get(name, {}).items())
            gone = self._past(name, {source for source, _ in claims[:1]})
        for source, resource in claims[1:]:
            self._tell(source, Problem(Trouble.CONFLICT, resource.conflict(claims[0][1])))
        try:
            if claims:
                self._serve(*claims[0])
            else:
                self._part.withdraw(name, "its resource is gone")
            for source in gone:
                self._switches.take_back(name, source, "which is gone")
            for source, _ in claims[1:]:
                self._switches.take_back(name, source, "whose lock it is not")
        except StoreUnavailable as error:
            self._try_again(name, claims[0][0] if claims else None, error)
            return False
        finally:
            self._settled(name)
        self._clear(name, gone)
        return True

    def _past(self, name: str, speaking: set[str]) -> list[str]:
        """Return the sources whose switch is to be taken back by now: all, once another speaks for the lock."""
        gone = {source: due for source, due in self._gone.get(name, {}).items() if source not in speaking}
        return sorted(source for source, due in gone.items() if speaking or due <= clock())

    def _serve(self, source: str, resource: Resource) -> None:
        try:
            self._switches.write(source, resource)  # before anything else: nobody may claim what was just disabled
        except StoreUnavailable:
            if (
                not resource.enabled
            ):  # the database has not heard of it yet, and might come back before we try again
                self._part.withdraw(resource.lock_name, "it is disabled")
            raise
        self._done[source] = resource.origin.generation if resource.origin is not None else 0
        try:
            self._part.take_part(resource)
        except SettingError as error:
            trouble = Trouble.UNKNOWN_JOB if isinstance(error, UnknownJob) else Trouble.INVALID
            self._tell(source, Problem(trouble, str(error)))
        else:
            self._tell(source, None)

    def _clear(self, name: str, gone: list[str]) -> None:
        """Forget what is dealt with; whoever left meanwhile has put the lock into the queue again."""
        with self._lock:
            speaking = set(list(self._claims.get(name, ()))[:1])
            left = {each: due for each, due in self._gone.get(name, {}).items() if each not in {*gone, *speaking}}
            self._gone[name] = left
            if left:
                self._queue.add(name, max(0.0, min(left.values()) - clock()))
            elif not self._claims.get(name):
                self._claims.pop(name, None)
                del self._gone[name]

    # --- words

    def _try_again(self, name: str, source: str | None, error: StoreUnavailable) -> None:
        words = f"the switch of {name} cannot be written at the moment, it is tried again: {error}"
        if source is not None:
            self._tell(source, Problem(Trouble.UNAVAILABLE, words))
        else:
            logger.warning("%s", words)

    def _tell(self, source: str, problem: Problem | None) -> None:
        """Say once what cannot be done, and once that it can."""
        before = self._problems.get(source)
        if problem is not None:
            self._problems[source] = problem
            if problem != before:
                logger.warning("%s", problem.words)
        elif before is not None:
            del self._problems[source]
            logger.info("%s is followed again", source)


def _in_order(claims: dict[str, Resource]) -> dict[str, Resource]:
    """Put the oldest first, as the API server says; of files the first to come, who have no age."""
    return dict(sorted(claims.items(), key=_age))


def _age(claim: tuple[str, Resource]) -> tuple[str, str]:
    source, resource = claim
    return (resource.origin.created, source) if resource.origin is not None else ("", "")
