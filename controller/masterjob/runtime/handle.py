"""A handle: the part of one instance in one lock, as a library user holds it."""

import asyncio
import logging

from masterjob.election.core.events import StepDown
from masterjob.election.term import LiveTerm
from masterjob.runtime.instance import SHUTDOWN_GRACE, Instance

logger = logging.getLogger("masterjob")


class Master:
    """One instance's part in one lock. Made by `start_master`."""

    def __init__(self, instance: Instance, lock_name: str, stop_timeout: float) -> None:
        self._instance = instance
        self._stop_timeout = stop_timeout
        self._open_lock = instance.get_open_lock(lock_name)
        self.lock_name = lock_name

    @property
    def instance(self) -> str:
        """The id of this instance; new at every start of the process."""
        return self._instance.runner.identity.instance

    @property
    def is_master(self) -> bool:
        """Whether this instance is master right now. Reads the clock: true only as long as it can be trusted."""
        return self.term is not None

    @property
    def term(self) -> LiveTerm | None:
        """The term that this instance serves, or None."""
        return self._instance.runner.current_term(self.lock_name)

    @property
    def why(self) -> str:
        """One sentence: what this instance does about the lock, and why."""
        return self._instance.explain(self.lock_name)

    def step_down(self, reason: str = "asked to") -> None:
        """Stop the job, release the lock and sit out one heartbeat interval; nothing if not master."""
        self._instance.runner.submit(StepDown(self.lock_name, reason))

    def close(self) -> None:
        """Stop the job if it runs here, release the lock and take part no more.

        Waits for that, the stop timeout and a few seconds at most; where the job's ``stop`` takes longer, the
        lock is kept until it returns. Called again, it goes on waiting.

        Raises:
            RuntimeError: called on the event loop that the job's coroutines need to stop; use `aclose`.
        """
        if self._instance.is_on_job_loop():
            raise RuntimeError("close() would wait for the event loop that it stands on: await aclose()")
        self._close()

    async def aclose(self) -> None:
        """Do what `close` does, from a coroutine."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if not self._instance.close(self._open_lock, self._stop_timeout + SHUTDOWN_GRACE):
            logger.warning("%s is not closed yet: %s", self.lock_name, self.why)

    def __repr__(self) -> str:
        return f"<master of {self.lock_name}: {self.why}>"
