"""One run of a job, as far as all kinds are alike: it begins at most once, and its end is told once.

                    may begin                     ended
    +---------+ --------------> +---------+ --------------> +-------+
    | PENDING |                 | RUNNING |                 | ENDED |
    +---------+                 +---------+                 +-------+
         | stopped, or no trust      | ended, stopping          | stopped
         +----------------------> STOPPED <---------------------+

Stopping is not a state but a wish that can come in each of them. A run is over only when nothing of it goes on.

Source: design section 3 (rule 3).
"""

import enum
import threading

from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm


class RunState(enum.Enum):
    """Where a run is."""

    PENDING = enum.auto()  # nothing was started yet
    RUNNING = enum.auto()
    ENDED = enum.auto()  # what was started has ended by itself, and stop was not asked for
    STOPPED = enum.auto()


class Run:
    """One run. `stop` may be called from any thread, and neither blocks nor calls the user's code."""

    def __init__(self, term: LiveTerm, report: Report) -> None:
        self._term = term
        self._report = report
        self._state = RunState.PENDING
        self._stopping = False
        # Reports are made under the lock, so that they come in order; reentrant, since a stop may be answered
        # within the call.
        self._lock = threading.RLock()

    def stop(self) -> None:
        """End the term, and what was begun. Called again, it does nothing."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._term.end()
            if self._state is RunState.PENDING:
                self._finish()
            elif self._state is not RunState.STOPPED:
                self._request_stop()

    def _request_stop(self) -> None:
        """Have what was begun stopped. Called once, under the lock."""
        raise NotImplementedError

    def _try_begin(self) -> bool:
        """Tell, right before it, whether what is to be run may begin: once, not after a stop nor without trust."""
        trusted = self._term.trust_left > 0  # outside the lock: whoever answers may have a lock of its own
        with self._lock:
            if self._state is not RunState.PENDING:
                return False
            if not trusted:
                self._finish()
                return False
            self._state = RunState.RUNNING
            return True

    def _finish(self) -> None:
        """Tell, under the lock, that all of it is over."""
        if self._state is not RunState.STOPPED:
            self._state = RunState.STOPPED
            self._report.stopped()
