"""Tells of one resource: what its status is to be, whether that is for us to say, and the patch.

What must not be here: when to look, and at what.

Source: design section 6.3.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from masterjob.election.clock import clock
from masterjob.election.views import LockStatus
from masterjob.kube.api.answers import ApiRefused, Changed
from masterjob.kube.follow.observed import Observed
from masterjob.kube.status import events
from masterjob.kube.status.doings import Doings
from masterjob.kube.status.events import EventApi, Post
from masterjob.kube.status.facts import Facts, Problem
from masterjob.kube.status.projection import is_behind, is_for_its_master, may_be_told, project

logger = logging.getLogger("masterjob")

NOW_AND_THEN = 0.0
"""An answer to "when to look again": later each time."""

_MASTERS_TIME = 5.0
_OVERLOOKED = 5.0
"""Seconds for which a disable of the spec may be missing in the database before that is told: its switch is just
being written, and what came of it costs one write."""
_BEHIND = 30.0
"""Seconds for which a database may be behind the status before it is believed all the same: it has lost the last
terms, in a failover or since it is another one, and a disabled lock would never see a higher one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long what takes, in seconds; two are the least and the most."""

    soon: float = 0.05
    """From a transition of ours to its status: what belongs together is written together."""
    a_stop: float = 0.4
    """That a stop may take before it is told of in between."""
    others: tuple[float, float] = (0.5, 2.5)
    """After which an instance looks that did nothing itself: by then whoever did has written."""
    all: tuple[float, float] = (1.0, 5.0)
    """Until every lock is looked at after a hint that says no more."""
    outage: tuple[float, float] = (8.0, 12.0)
    """The same after the database has fallen silent."""
    round: tuple[float, float] = (240.0, 360.0)
    """Between two looks at everything that need no hint."""
    least_pause: float = 0.5
    most_pause: float = 5.0
    """While the API server is down."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the controller knows of a resource; ``settled`` is the generation whose switch the database has."""

    problem: Problem | None
    timing: Mapping[str, str | int] | None
    settled: int


class Authority(Protocol):
    """The controller, as far as statuses go."""

    def describe(self, observed: Observed) -> Description:
        """Return what is known of a resource."""

    def doubt(self, observed: Observed) -> None:
        """Have the switch of a resource written again, which the database does not have."""


class StatusApi(EventApi, Protocol):
    """What is asked of the API server."""

    def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return the object as it is; None where there is none."""

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Write the whole status, and return the object; raises `Changed` where somebody was faster."""


class Picture(Protocol):
    """The resources as they were seen last."""

    def by_lock(self, name: str) -> list[Observed]:
        """Return those that name the lock, the oldest first."""

    def all(self) -> list[Observed]:
        """Return all."""

    def note(self, body: Mapping[str, Any]) -> None:
        """Take in an answer of the API server."""


class Teller:
    """Writes statuses, one at a time; used by one thread."""

    def __init__(
        self,
        api: StatusApi,
        picture: Picture,
        authority: Authority,
        doings: Doings,
        post: Post,
        count: Callable[[str], None],
    ) -> None:
        self._api, self._picture, self._authority = api, picture, authority
        self._doings, self._post, self._count = doings, post, count
        self._behind: dict[str, float] = {}
        """Since when the database is behind what the spec or the status of an object has."""
        self._refused: set[tuple[str, str]] = set()

    def tell(self, observed: Observed, lock: LockStatus | None, trouble: str | None) -> float | None:
        """Have the status be as it is to be; return in how many seconds to look again, None where all is done.

        Raises:
            ApiUnavailable: the API server gave no answer.
        """
        described = self._authority.describe(observed)
        doing = self._doings.of(observed.lock_name or "")
        facts = Facts(observed, lock, trouble, described.problem, doing, described.timing, described.settled)
        now = datetime.now(UTC)
        if facts.overlooked:
            self._authority.doubt(observed)
        if not may_be_told(facts):
            return None
        if is_for_its_master(facts, now):
            return _MASTERS_TIME
        if (wait := self._wait_for_database(facts)) > 0:
            return wait
        return self._bring(observed, project(facts, now))

    def _wait_for_database(self, facts: Facts) -> float:
        uid = facts.observed.uid
        patience = _BEHIND if is_behind(facts) else _OVERLOOKED if facts.overlooked else None
        if patience is None:
            self._behind.pop(uid, None)
            return 0.0
        return self._behind.setdefault(uid, clock()) + patience - clock()

    def _bring(self, observed: Observed, status: Mapping[str, Any]) -> float | None:
        if status == observed.status:
            self._count("unchanged")
            return None
        where = observed.namespace, observed.name
        try:
            body = self._api.patch_status(*where, observed.resource_version, status)
        except Changed:
            return self._overtaken(*where)
        except ApiRefused as error:
            return self._refuse(where, error)
        if body is not None:  # else it is gone
            self._count("written")
            self._refused.discard(where)
            self._picture.note(body)
            for event in events.of_status(observed, status):
                self._post.add(event)
        return None

    def _overtaken(self, namespace: str, name: str) -> float:
        self._count("overtaken")
        if (body := self._api.get(namespace, name)) is not None:
            self._picture.note(body)
        return NOW_AND_THEN

    def _refuse(self, where: tuple[str, str], error: ApiRefused) -> float:
        self._count("refused")
        if where not in self._refused:
            self._refused.add(where)
            logger.warning("the status of MasterJob %s/%s cannot be written: %s", *where, error)
        return NOW_AND_THEN
