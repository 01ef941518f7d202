"""Readers share rounds: whoever asks while one is under way is answered by the next, with all others who ask.

So however many ask, the database is read by one at a time; and after each round there is a pause of some times its
length, so that readers cost this process no more than a part of its time: the heartbeats are in it too. No answer
is older than its question.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any

from masterjob.concurrency.clock import clock
from masterjob.web.pool import CallPool, ServerBusy

PAUSE_FACTOR, MAX_PAUSE = 4.0, 0.05
"""How much longer a pause is than the round before it; and its most seconds, since a slow round mostly waits.

What this process worked in the round counts in full, however long that was, as with thousands of locks.
"""

MAX_PENDING = 256
"""How many different questions may wait; one more is told to come back."""

BATCH_SIZE = 16
"""How many of them a round has."""

RequestKey = Hashable
BatchReader = Callable[[list[Any]], dict[Any, Any]]
"""Answers some questions of a kind; an answer may be an exception."""


class SingleFlight:
    """The questions of one kind. ``read_batch`` answers some of them at once, on a thread that may block."""

    def __init__(self, pool: CallPool, read_batch: BatchReader, timeout: float = 10.0) -> None:
        self._pool = pool
        self._read_batch = read_batch
        self._timeout = timeout
        self._pending: dict[RequestKey, asyncio.Future[Any]] = {}
        self._batch_task: asyncio.Task[None] | None = None
        self._cpu_seconds = 0.0
        """Seconds for which the last round needed a processor."""

    async def fetch(self, key: RequestKey) -> Any:
        """Return the answer.

        Raises:
            ServerBusy: too many ask for too many things, or it took too long.
        """
        future = self._pending.get(key)
        if future is None:
            if len(self._pending) >= MAX_PENDING:
                raise ServerBusy("too many different questions are waiting")
            future = self._pending[key] = asyncio.get_running_loop().create_future()
            if self._batch_task is None:
                self._batch_task = asyncio.create_task(self._run_batches())
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(future)  # who goes away takes nobody else's answer along
        except TimeoutError:
            raise ServerBusy(f"no answer within {self._timeout:g} s") from None

    async def _run_batches(self) -> None:
        try:
            while self._pending:
                started_at = clock()
                batch = {key: self._pending.pop(key) for key in list(self._pending)[:BATCH_SIZE]}
                await self._run_batch(batch)
                await asyncio.sleep(pause_after(clock() - started_at, self._cpu_seconds))
        finally:
            self._batch_task = None

    async def _run_batch(self, batch: dict[RequestKey, "asyncio.Future[Any]"]) -> None:
        try:
            results = await self._pool.run(lambda: self._measured_read(list(batch)))
        except Exception as error:  # each of them is told
            results = dict.fromkeys(batch, error)
        for key, future in batch.items():
            result = results.get(key)
            if isinstance(result, Exception):
                future.set_exception(result)
                future.exception()  # whoever asked may be gone
            else:
                future.set_result(result)

    def _measured_read(self, keys: list[RequestKey]) -> dict[RequestKey, Any]:
        cpu_started_at = time.thread_time()
        try:
            return self._read_batch(keys)
        finally:
            self._cpu_seconds = time.thread_time() - cpu_started_at


def pause_after(elapsed: float, cpu_seconds: float) -> float:
    """Return how long nobody reads after a round that took so long, and that this process worked for so long."""
    return max(min(MAX_PAUSE, PAUSE_FACTOR * elapsed), PAUSE_FACTOR * cpu_seconds)
