"""Writes the status of MasterJobs: level-based, only what differs, by one thread, off the election's threads.

    a transition of ours, a hint, a slow round   ->  a look at the lock, after a moment
    a look: the resource as it was seen last, then the database, then what we do   ->  the status to be (teller.py)
    if it differs, and it is for us to tell it   ->  one patch that fails if somebody was faster

An API server that is slow, down or refuses holds up nobody: what was not written is looked at again.

Source: design section 6.3.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random

from masterjob.election.clock import clock
from masterjob.election.errors import StoreUnavailable
from masterjob.election.machine.events import Woken
from masterjob.election.observing import Seen
from masterjob.election.views import LockStatus
from masterjob.kube.api.answers import ApiUnavailable
from masterjob.kube.follow.observed import Observed
from masterjob.kube.status import events
from masterjob.kube.status.agenda import Agenda
from masterjob.kube.status.doings import Doings, answered, told
from masterjob.kube.status.events import Post
from masterjob.kube.status.teller import Authority, Pace, Picture, StatusApi, Teller

logger = logging.getLogger("masterjob")

_BATCH = 500
_DOWN = 3
"""So many objects in a row that could not be written are no accident: the API server is down."""


class StatusWriter:
    """Keeps the status of every resource in ``picture`` right. All methods may be called from any thread.

    ``read`` reads locks in the database by their names; ``authority`` is what the controller knows.
    """

    def __init__(
        self,
        api: StatusApi,
        picture: Picture,
        read: Callable[[Iterable[str]], Mapping[str, LockStatus]],
        authority: Authority,
        instance: str,
        pace: Pace | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many statuses were written, unchanged, overtaken, refused, or not written since the API was down."""
        self.counted: Callable[[str], None] = lambda _: None
        """Called with the word for each."""
        self._picture, self._read = picture, read
        self._pace = pace or Pace()
        self._random = Random()  # noqa: S311 - jitter is no secret
        self._doings = Doings()
        self._agenda = Agenda()
        self._post = Post(api, instance)
        self._teller = Teller(api, picture, authority, self._doings, self._post, self._count)
        self._round_at = clock() + self._within(self._pace.round)
        self._pause = 0.0
        self._failures: Counter[tuple[str, str]] = Counter()
        """How many times in a row the status of an object could not be written."""
        self._silent = False
        self._thread = threading.Thread(target=self._run, name="masterjob status", daemon=True)

    # --- what there is to tell

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Write at once what there is to tell, for so many seconds at most, and end."""
        self._agenda.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def look(self, lock_name: str) -> None:
        """Look at a lock whose resource was acted upon; its master at once, others a moment later."""
        serving = self._doings.serves(lock_name)
        self._agenda.plan([lock_name], self._pace.a_stop / 2 if serving else self._within(self._pace.others))

    def look_at_all(self) -> None:
        """Look at every lock, once, in a moment."""
        self._look_at_all(self._pace.all)

    def _look_at_all(self, within: tuple[float, float]) -> None:
        names = {each.lock_name for each in self._picture.all() if each.lock_name}
        self._agenda.plan(names, self._within(within))

    def observe(self, seen: Seen) -> None:
        """Take in a step of this process's election."""
        for name in self._doings.take_in(seen):
            doing = self._doings.of(name)
            stopping = doing is not None and doing.phase == "stopping"
            self._agenda.plan([name], self._pace.a_stop if stopping else self._pace.soon)
        for entry in told(seen):
            self._agenda.plan([entry.lock_name], self._pace.soon)
            owner = next(iter(self._picture.by_lock(entry.lock_name)), None)
            if owner is not None and (event := events.of_transition(owner, entry)) is not None:
                self._post.add(event)
        if isinstance(seen.event, Woken):
            self._hinted(seen.event.lock_names)
        self._note_silence(answered(seen))

    def _hinted(self, names: frozenset[str] | None) -> None:
        if names is None:
            self.look_at_all()
        else:
            for name in names:
                self.look(name)

    def _note_silence(self, answer: bool | None) -> None:
        """A database that fell silent, or speaks again, concerns every lock."""
        if answer is not None and answer == self._silent:
            self._silent = not answer
            self._look_at_all(self._pace.all if answer else self._pace.outage)

    def _within(self, span: tuple[float, float]) -> float:
        return self._random.uniform(*span)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self.counted(outcome)

    # --- the thread

    def _run(self) -> None:
        while (names := self._agenda.take(_BATCH, max(0.0, self._round_at - clock()))) is not None:
            try:
                self._turn(names)
            except Exception:
                logger.exception("a defect while statuses were written; they are looked at again")
                self._agenda.plan(names, self._pace.most_pause)

    def _turn(self, names: list[str]) -> None:
        if clock() >= self._round_at:
            self._round_at = clock() + self._within(self._pace.round)
            self.look_at_all()
        try:
            self._tell(names)
            self._post.send()
            self._pause = 0.0
        except ApiUnavailable as error:
            self._pause = min(max(2 * self._pause, self._pace.least_pause), self._pace.most_pause)
            logger.debug("statuses are written later: %s", error)
            self._agenda.hold(max(self._pause, min(error.retry_after or 0.0, self._pace.most_pause)))
            self._agenda.plan(names, 0.0)

    def _tell(self, names: list[str]) -> None:
        """The resources first, then the database: so no status can be older than the one it is written over."""
        observed = [each for name in names for each in self._picture.by_lock(name)]
        if not observed:
            return
        locks, trouble = self._locks(names)
        if trouble is not None:
            self._agenda.plan(names, self._pace.most_pause + self._within(self._pace.others))
        in_a_row = 0
        for each in observed:
            error = self._tell_one(each, locks.get(each.lock_name or ""), trouble)
            in_a_row = in_a_row + 1 if error is not None else 0
            if error is not None and in_a_row >= min(_DOWN, len(observed)):
                raise error

    def _locks(self, names: list[str]) -> tuple[Mapping[str, LockStatus], str | None]:
        try:
            return self._read(names), None
        except StoreUnavailable as error:
            return {}, str(error)

    def _tell_one(self, observed: Observed, lock: LockStatus | None, trouble: str | None) -> ApiUnavailable | None:
        """Tell of one object; whatever is wrong with it holds up no other. Return why the API gave no answer."""
        where, name = (observed.namespace, observed.name), observed.lock_name or ""
        try:
            again = self._teller.tell(observed, lock, trouble)
        except ApiUnavailable as error:
            self._count("unavailable")
            self._look_again(where, name)
            return error
        except Exception:
            logger.exception("a defect while the status of MasterJob %s/%s was written", *where)
            self._look_again(where, name)
            return None
        if again is None:
            self._failures.pop(where, None)
        elif again:
            self._agenda.plan([name], self._within((again, 2 * again)))
        else:
            self._look_again(where, name)
        return None

    def _look_again(self, where: tuple[str, str], name: str) -> None:
        """Each time later: an API server that has just started refuses everybody, and others refuse for good."""
        self._failures[where] += 1
        wait = self._within(self._pace.others) * 4.0 ** min(self._failures[where] - 1, 10)
        self._agenda.plan([name], min(wait, self._within(self._pace.round)))
