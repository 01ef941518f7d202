"""A command as a job (the port `masterjob.election.ports.EffectJob`).

The command finds in its environment, beside ours and what is configured:

    MASTERJOB_LOCK_NAME     the lock
    MASTERJOB_TERM          the term's number, the fencing token
    MASTERJOB_LEASE_ENDS    seconds, counted from its start, for which the mastership was certain at that moment;
                            every heartbeat prolongs it, and the command is stopped when it is over

It runs in a session of its own, with nothing to read. What it writes goes into the log. Exit code 0 means that it
has done its work: the lock is kept. Any other end gives the lock to another instance; so does a command that
cannot be started. A run that fails soon lets the elector wait longer each time, so it counts as started only when
it has lasted ten seconds, or is done.

Stopped, its process group gets SIGTERM, and SIGKILL shortly before the stop timeout is over; a shim
(``shim.py``) sees to that, whatever becomes of us.

Source: design section 3.4.
"""

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.run import ExecRun


class ExecJob:
    """Runs a command as the job of one lock, one run at a time. ``stop_timeout`` is in seconds."""

    def __init__(self, command: ExecCommand, pool: ThreadPool, stop_timeout: float) -> None:
        self._command = command
        self._pool = pool
        self._stop_timeout = stop_timeout
        self._run: ExecRun | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        """Begin a run: have the command started, if the term is still trusted right before that."""
        self._run = run = ExecRun(self._command, self._stop_timeout, term, report)
        self._pool.submit(lambda: run.supervise(self._pool))

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Have what runs killed so long after it was asked to stop, or after the end of its trust."""
        self._stop_timeout = stop_timeout
        if self._run is not None:
            self._run.set_stop_timeout(stop_timeout)

    def stop(self) -> None:
        """End the run that was begun last. Called again for the same run, it does nothing."""
        if self._run is not None:
            self._run.stop()
