"""Heartbeats that are overdue, from the list of sessions that a candidate reads once per heartbeat interval.

So a dead master is noticed well before its lease is over, and no lock is read for that. A status is written only
after the lock was read again a moment later, so a single slow heartbeat changes nothing that people see.
"""

from masterjob.election.values import SessionList
from masterjob.lock_status import OVERDUE_SHARE


class OverdueHeartbeats:
    """The instances with an overdue heartbeat, as of the newest list."""

    def __init__(self) -> None:
        self._instances: frozenset[str] = frozenset()

    def observe(self, session_list: SessionList) -> frozenset[str]:
        """Return the instances whose heartbeat has become overdue, or is not overdue any more."""
        before = self._instances
        self._instances = frozenset(
            row.instance for row in session_list.sessions if row.age_ms > row.lease_ms * OVERDUE_SHARE
        )
        return self._instances ^ before
