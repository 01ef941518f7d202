"""What an instance may report if the database does not answer it: it does not know whether others reach it.

its job runs, or was never its own    nothing: the status is right, or others write it
its job has stopped                   at once that the job has stopped, and that no more is known
for a while nobody has written since  then that the database is away
another instance has written          nothing more: the database answers others
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from masterjob.concurrency.clock import clock
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status.conditions import ConditionReason, ConditionType, find_condition
from masterjob.kube.status.own_runs import OwnRun

OUTAGE_GRACE = 15.0
"""Seconds that others have to write the status, before the database counts as away."""


class DatabaseAccess(Enum):
    """Whether the database could be read."""

    ANSWERS = auto()
    LOST_HERE = auto()
    """It does not answer this instance; others may reach it."""
    LOST = auto()
    """It does not answer this instance, and no other instance seems to reach it."""


@dataclass(slots=True)
class _Outage:
    began: float
    reported: dict[str, Any] | None = None
    """The status that this instance has written in this outage."""


class Outages:
    """The database as this instance sees it for each resource. Call its methods from one thread."""

    def __init__(self) -> None:
        self._outages: dict[str, _Outage] = {}

    def end(self, uid: str) -> None:
        """Note that the database answers."""
        self._outages.pop(uid, None)

    def record_report(self, uid: str, status: dict[str, Any]) -> None:
        """Note that this instance has written this status during the outage."""
        if (outage := self._outages.get(uid)) is not None:
            outage.began, outage.reported = clock() if outage.reported is None else outage.began, status

    def assess(self, observed: ObservedResource, own_run: OwnRun | None) -> tuple[DatabaseAccess | None, float]:
        """Return what to report now, or None, and the seconds after which to ask again (0: no need to).

        ``own_run`` is the run of the term that the status has, if that is this instance's own.
        """
        outage = self._outages.setdefault(observed.uid, _Outage(clock()))
        if not find_condition(observed.status, ConditionType.READY):
            return self._after_grace(outage)
        if own_run is None or not own_run.is_over:
            return None, 0.0
        if outage.reported is None:
            elected = find_condition(observed.status, ConditionType.ELECTED)
            is_reported = elected.get("reason") == ConditionReason.NOT_CONFIRMED
            return (None if is_reported else DatabaseAccess.LOST_HERE), 0.0
        return self._after_grace(outage) if observed.status == outage.reported else (None, 0.0)

    def _after_grace(self, outage: _Outage) -> tuple[DatabaseAccess | None, float]:
        grace_left = outage.began + OUTAGE_GRACE - clock()
        return (None, grace_left) if grace_left > 0 else (DatabaseAccess.LOST, 0.0)
