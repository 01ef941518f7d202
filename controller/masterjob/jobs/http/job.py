"""HTTP hooks as a job (the port `masterjob.election.ports.EffectJob`): POST at the start, POST at the stop.

    POST <start>
    X-Fencing-Token: 1763760000123
    Content-Type: application/json

    {"lockName": "reports", "term": 1763760000123, "event": "start", "deadline": "2025-11-21T21:20:24.000Z"}

The deadline is the moment until which the mastership is certain now (every heartbeat prolongs it, silently), and
with ``stop`` the moment by which all must have stopped. 2xx means done. At the start everything else gives the
lock to another instance; at the stop it is logged, and the lock is released all the same, when the stop timeout is
over at the latest: who must never run twice compares the fencing token. What cannot be reached, or answers 502,
503 or 504, is tried again a few times, at the start while the trust lasts and at the stop within the stop timeout.
Redirects are not followed, nor are proxies of the environment used.

Source: design section 3.4.
"""

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.http.hooks import Hooks
from masterjob.jobs.http.run import HttpRun


class HttpJob:
    """Runs a job of somebody else's by telling it to start and to stop, one run at a time."""

    def __init__(self, hooks: Hooks, pool: ThreadPool, stop_timeout: float) -> None:
        self._hooks = hooks
        self._pool = pool
        self._stop_timeout = stop_timeout
        self._run: HttpRun | None = None
        pool.ensure_idle_thread()  # now: when the interpreter exits, no thread could be started any more

    def start(self, term: LiveTerm, report: Report) -> None:
        """Begin a run: have the start posted, if the term is still trusted right before that."""
        self._run = run = HttpRun(self._hooks, self._pool, self._stop_timeout, term, report)
        self._pool.submit(run.begin)

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Wait for the answer to a stop no longer than that."""
        self._stop_timeout = stop_timeout
        if self._run is not None:
            self._run.set_stop_timeout(stop_timeout)

    def stop(self) -> None:
        """End the run that was begun last. Called again for the same run, it does nothing."""
        if self._run is not None:
            self._run.stop()
