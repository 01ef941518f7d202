"""Writes the status of MasterJobs: level-based, only what differs, by one thread, off the election's threads.

    a transition of ours, a hint, a slow round   ->  a look at the lock, after a moment
    a look: the resource as it was seen last, then the database, then what we do   ->  the status to be
    if it differs, and it is for us to tell it   ->  one patch that fails if somebody was faster

An API server that is slow, down or refuses holds up nobody: what was not written is looked at again.

Source: design section 6.3.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

from masterjob.election.clock import clock
from masterjob.election.errors import StoreUnavailable
from masterjob.election.machine.messages import Woken
from masterjob.election.observing import Seen
from masterjob.election.views import LockStatus
from masterjob.kube import events
from masterjob.kube.agenda import Agenda
from masterjob.kube.api import ApiRefused, ApiUnavailable, Changed
from masterjob.kube.doings import Doings, answered, told
from masterjob.kube.events import Event
from masterjob.kube.facts import Facts, Problem
from masterjob.kube.mirror import Observed
from masterjob.kube.projection import is_for_its_master, may_be_told, project

logger = logging.getLogger("masterjob")

SOON = 0.05
"""Seconds from a transition of ours to its status: what belongs together is written together."""

A_STOP = 0.4
"""Seconds that a stop may take before it is told of in between."""

_OTHERS = (0.5, 2.5)
"""Seconds after which an instance looks that did nothing itself: by then whoever did has written."""
_ALL = (1.0, 5.0)
_OUTAGE = (8.0, 12.0)
_ROUND = (240.0, 360.0)
_BATCH = 500
_MOST_EVENTS = 1_000
_LEAST_PAUSE, _MOST_PAUSE = 0.5, 5.0


class StatusApi(Protocol):
    """What is asked of the API server."""

    def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return the object as it is; None where there is none."""

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Write the whole status, and return the object; raises `Changed` where somebody was faster."""

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create an Event; False where it is there already."""


class Picture(Protocol):
    """The resources as they were seen last."""

    def by_lock(self, lock_name: str) -> list[Observed]:
        """Return those that name the lock, the oldest first."""

    def all(self) -> list[Observed]:
        """Return all."""

    def note(self, body: Mapping[str, Any]) -> None:
        """Take in an answer of the API server."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the controller knows of a resource."""

    problem: Problem | None
    timing: Mapping[str, str | int] | None


class StatusWriter:
    """Keeps the status of every resource in ``picture`` right. All methods may be called from any thread.

    ``read`` reads locks in the database by their names; ``describe`` asks the controller.
    """

    def __init__(
        self,
        api: StatusApi,
        picture: Picture,
        read: Callable[[Iterable[str]], Mapping[str, LockStatus]],
        describe: Callable[[Observed], Description],
        instance: str,
        random: Random | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many statuses were written, unchanged, overtaken, refused, or not written since the API was down."""
        self.counted: Callable[[str], None] = lambda _: None
        """Called with the word for each."""
        self._api, self._picture, self._read, self._describe = api, picture, read, describe
        self._instance = instance
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self._doings = Doings()
        self._agenda = Agenda()
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._round_at = clock() + self._within(_ROUND)
        self._pause = 0.0
        self._silent = False
        self._refused: dict[tuple[str, str], int] = {}
        """How many times in a row the status of an object was refused."""
        self._thread = threading.Thread(target=self._run, name="masterjob status", daemon=True)

    # --- what there is to tell

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Write at once what there is to tell, for so many seconds at most, and end."""
        self._agenda.close()
        self._thread.join(timeout)

    def look(self, lock_name: str) -> None:
        """Look at a lock whose resource was acted upon; its master at once, others a moment later."""
        wait = A_STOP / 2 if self._doings.serves(lock_name) else self._within(_OTHERS)
        self._agenda.plan([lock_name], wait)

    def look_at_all(self) -> None:
        """Look at every lock, once, in a moment."""
        self._look_at_all(_ALL)

    def _look_at_all(self, within: tuple[float, float]) -> None:
        names = {each.lock_name for each in self._picture.all() if each.lock_name}
        self._agenda.plan(names, self._within(within))

    def observe(self, seen: Seen) -> None:
        """Take in a step of this process's election."""
        for name in self._doings.take_in(seen):
            running = self._doings.of(name)
            self._agenda.plan([name], A_STOP if running and running.phase == "stopping" else SOON)
        for entry in told(seen):
            self._agenda.plan([entry.lock_name], SOON)
            owner = next(iter(self._picture.by_lock(entry.lock_name)), None)
            if owner is not None and (event := events.of_transition(owner, entry)) is not None:
                self._events.append(event)
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
            self._look_at_all(_ALL if answer else _OUTAGE)

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
                self._agenda.plan(names, _MOST_PAUSE)

    def _turn(self, names: list[str]) -> None:
        if clock() >= self._round_at:
            self._round_at = clock() + self._within(_ROUND)
            self.look_at_all()
        try:
            self._tell(names)
            self._send_events()
            self._pause = 0.0
        except ApiUnavailable as error:
            self._count("unavailable")
            self._pause = min(max(2 * self._pause, _LEAST_PAUSE), _MOST_PAUSE)
            logger.debug("statuses are written later: %s", error)
            self._agenda.hold(max(self._pause, min(error.retry_after or 0.0, _MOST_PAUSE)))
            self._agenda.plan(names, 0.0)

    def _tell(self, names: list[str]) -> None:
        """The resources first, then the database: so no status can be older than the one it is written over."""
        observed = [each for name in names for each in self._picture.by_lock(name)]
        if not observed:
            return
        locks, trouble = self._locks(names)
        if trouble is not None:
            self._agenda.plan(names, _MOST_PAUSE + self._within(_OTHERS))
        for each in observed:
            self._tell_one(each, locks.get(each.lock_name or ""), trouble)

    def _locks(self, names: list[str]) -> tuple[Mapping[str, LockStatus], str | None]:
        try:
            return self._read(names), None
        except StoreUnavailable as error:
            return {}, str(error)

    def _tell_one(self, observed: Observed, lock: LockStatus | None, trouble: str | None) -> None:
        described = self._describe(observed)
        doing = self._doings.of(observed.lock_name or "")
        facts = Facts(observed, lock, trouble, described.problem, doing, described.timing)
        now = datetime.now(UTC)
        if not may_be_told(facts):
            return
        if is_for_its_master(facts, now):
            self._agenda.plan([observed.lock_name or ""], _MOST_PAUSE + self._within(_OTHERS))
            return
        status = project(facts, now)
        if status == observed.status:
            self._count("unchanged")
        else:
            self._write(observed, status)

    def _write(self, observed: Observed, status: Mapping[str, Any]) -> None:
        where = observed.namespace, observed.name
        try:
            body = self._api.patch_status(*where, observed.resource_version, status)
        except Changed:
            self._count("overtaken")
            if (body := self._api.get(*where)) is not None:
                self._picture.note(body)
                self._agenda.plan([observed.lock_name or ""], self._within(_OTHERS) / 5)
            return
        except ApiRefused as error:
            self._refuse(observed, error)
            return
        if body is not None:  # else it is gone
            self._count("written")
            self._refused.pop(where, None)
            self._picture.note(body)
            self._events.extend(events.of_status(observed, status))

    def _refuse(self, observed: Observed, error: ApiRefused) -> None:
        """Say so once, and look again, each time later: an API server that has just started refuses everybody."""
        self._count("refused")
        where = observed.namespace, observed.name
        times = self._refused.get(where, 0)
        self._refused[where] = times + 1
        if times == 0:
            logger.warning("the status of MasterJob %s/%s cannot be written: %s", *where, error)
        wait = min(self._within(_ALL) * 4.0 ** min(times, 10), self._within(_ROUND))
        self._agenda.plan([observed.lock_name or ""], wait)

    def _send_events(self) -> None:
        while self._events:
            event = self._events[0]
            try:
                self._api.create_event(event.observed.namespace, event.body(self._instance, datetime.now(UTC)))
            except ApiRefused as error:
                logger.debug("an Event was refused: %s", error)
            self._events.popleft()
