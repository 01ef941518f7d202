"""The controller: has done what resources say, whether they were read from files or from Kubernetes.

It is told what is wanted, `apply` and `remove`, and works towards that until it is so: the switch in the database
first, then this process's part in the election. What fails is tried again and holds up no other lock; what cannot
be done is told once, and the last good state stays.

    the resources of a lock  ->  the oldest one counts  ->  its switch is written  ->  the lock is declared
    (sources.py)                 the others: Conflict       (switches.py)              (participation.py)

What must not be here: where resources come from, SQL, what a job is.

Source: design sections 3.2, 6.1 and 6.2.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from masterjob.controller.participation import Participation, Resolve, UnknownJob
from masterjob.controller.problems import Problem, Problems, Trouble
from masterjob.controller.sources import Sources
from masterjob.controller.switches import Switches
from masterjob.controller.workqueue import Workqueue
from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.jobs.named import JobSpec
from masterjob.process.process import Process
from masterjob.resource.resource import Resource
from masterjob.settings import Settings
from masterjob.store.database import Database
from masterjob.store.verbs.declarations import Standing

logger = logging.getLogger("masterjob")

_THREADS = 4
_DATABASE = ""
"""In the queue, where no lock has that name: the database itself."""


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
        self._sources = Sources()
        self._done: dict[str, int] = {}
        """The generation of each source that the database has."""
        self._problems = Problems()
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
            if self._sources.lock_of(source) not in (None, resource.lock_name):
                self._drop(source)
            news = self._sources.put(source, resource)
        if news:
            self._queue.add(resource.lock_name)

    def remove(self, source: str) -> None:
        """The resource is gone for good: so are its switch and, with the last of them, our part in its lock."""
        with self._lock:
            if self._sources.lock_of(source) is not None:
                self._drop(source)

    def repeat(self) -> None:
        """Look at everything again, also at switches that were written before: a slow net for what was lost."""
        with self._lock:
            self._switches.forget()
            names = self._sources.names()
        for name in names:
            self._queue.add(name)

    def doubt(self, source: str) -> None:
        """Have the switch of a resource written again: the database does not say what was written."""
        with self._lock:
            if (name := self._sources.lock_of(source)) is not None:
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
            if self._sources.bury(lock_name, source):
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
        return self._problems.of(source)

    def wait_done(self, timeout: float) -> bool:
        """Wait until everything that was told is done, as far as it can be; False if it is not."""
        return self._queue.wait_done(timeout)

    def _drop(self, source: str) -> None:
        self._queue.add(self._sources.drop(source))
        self._problems.forget(source)
        self._done.pop(source, None)

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
            speaking = self._sources.of(name)
            gone = self._sources.to_take_back(name)
        for source, resource in speaking[1:]:
            self._problems.tell(source, Problem(Trouble.CONFLICT, resource.conflict(speaking[0][1])))
        try:
            if speaking:
                self._serve(*speaking[0])
            else:
                self._part.withdraw(name, "its resource is gone")
            for source in gone:
                self._switches.take_back(name, source, "which is gone")
            for source, _ in speaking[1:]:
                self._switches.take_back(name, source, "whose lock it is not")
        except StoreUnavailable as error:
            self._try_again(name, speaking[0][0] if speaking else None, error)
            return False
        finally:
            self._settled(name)
        self._clear(name, gone)
        return True

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
            self._problems.tell(source, Problem(trouble, str(error)))
        else:
            self._problems.over(source)

    def _clear(self, name: str, gone: list[str]) -> None:
        """Forget what is dealt with; whoever left meanwhile has put the lock into the queue again."""
        with self._lock:
            again = self._sources.taken_back(name, gone)
        if again is not None:
            self._queue.add(name, again)

    def _try_again(self, name: str, source: str | None, error: StoreUnavailable) -> None:
        words = f"the switch of {name} cannot be written at the moment, it is tried again: {error}"
        if source is not None:
            self._problems.tell(source, Problem(Trouble.UNAVAILABLE, words))
        else:
            logger.warning("%s", words)
