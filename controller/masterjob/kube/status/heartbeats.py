"""Heartbeats that are overdue, from the list of sessions that a candidate reads once per heartbeat interval.

So a dead master is noticed well before its lease is over, and no lock is read for that. A status is written only
after the lock was read again a moment later, so a single slow heartbeat changes nothing that people see.
"""

from masterjob.election.values import SessionList
from masterjob.lock_status import OVERDUE_SHARE


class OverdueHeartbeats:
    """The sessions with an overdue heartbeat, as of the newest list. An instance has one for each timing."""

    def __init__(self) -> None:
        self._sessions: dict[str, str] = {}
        """Instances by session id."""

    def observe(self, session_list: SessionList) -> frozenset[str]:
        """Return the instances of sessions whose heartbeat has become overdue, or is not overdue any more."""
        before = self._sessions
        self._sessions = {
            row.id: row.instance for row in session_list.sessions if row.age_ms > row.lease_ms * OVERDUE_SHARE
        }
        return frozenset((before | self._sessions)[each] for each in before.keys() ^ self._sessions.keys())
