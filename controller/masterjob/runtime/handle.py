"""`Master`: a lock that this process competes for, as the application sees it."""

import asyncio
import logging

from masterjob.election.core.events import StepDown
from masterjob.election.term import LiveTerm
from masterjob.runtime.instance import Instance
from masterjob.runtime.shutdown import RELEASE_TIMEOUT

logger = logging.getLogger("masterjob")


class Master:
    """A lock that this process competes for. `start_master` returns it. All methods are thread-safe.

    Attributes:
        lock_name: the name of the lock.
    """

    def __init__(self, instance: Instance, lock_name: str, stop_timeout: float) -> None:
        self._instance = instance
        self._stop_timeout = stop_timeout
        self._open_lock = instance.get_open_lock(lock_name)
        self.lock_name = lock_name

    @property
    def instance(self) -> str:
        """The id of this instance, new at every start of the process."""
        return self._instance.runner.identity.instance

    @property
    def is_master(self) -> bool:
        """Whether this instance is the master right now. Ask again before each step: the answer expires."""
        return self.term is not None

    @property
    def term(self) -> LiveTerm | None:
        """The current `Term` of this instance, or None if it is not the master."""
        return self._instance.runner.current_term(self.lock_name)

    @property
    def why(self) -> str:
        """One sentence on the state of the lock: who is the master, or why it has none. May ask the database."""
        return self._instance.explain(self.lock_name)

    def step_down(self, reason: str = "asked to by the application") -> None:
        """Stop the job and release the lock, so that another instance takes over. Returns at once.

        This instance does not compete for one heartbeat interval. If it is not the master, nothing happens.

        Args:
            reason: why; recorded in the history of the lock.
        """
        self._instance.runner.submit(StepDown(self.lock_name, reason))

    def close(self) -> None:
        """Stop the job if it runs here, release the lock, and stop competing for it.

        Waits until that is done, at most the stop timeout and a few seconds. If the job's ``stop`` takes longer, a
        warning is logged and the lock is kept until ``stop`` returns. Call it again to wait longer.

        Raises:
            RuntimeError: called on the event loop that the job's coroutines run on; use `aclose` there.
        """
        if self._instance.is_on_job_loop():
            raise RuntimeError("close() would block the event loop that the job needs to stop: await aclose()")
        self._close()

    async def aclose(self) -> None:
        """Do what `close` does, from a coroutine."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if not self._instance.close(self._open_lock, self._stop_timeout + RELEASE_TIMEOUT):
            logger.warning("%s is not closed yet: %s", self.lock_name, self.why)

    def __repr__(self) -> str:
        return f"<master of {self.lock_name}: {self.why}>"


class IdleMaster(Master):
    """A lock that this process does not compete for, because another process of the application does."""

    def __init__(self, lock_name: str, reason: str) -> None:
        self.lock_name = lock_name
        self._reason = reason

    @property
    def instance(self) -> str:
        """Empty: there is no instance."""
        return ""

    @property
    def term(self) -> LiveTerm | None:
        """None: this process is never the master."""
        return None

    @property
    def why(self) -> str:
        """Why this process does not compete."""
        return self._reason

    def step_down(self, reason: str = "") -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""
