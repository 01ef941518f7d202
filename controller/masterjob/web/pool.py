"""Blocking calls from the event loop: a few threads with a bounded queue, and readers that share one call.

The threads are daemons, because an executor would join them at exit: a database that hangs must not delay the end
of the process. A caller beyond the bounds gets `ServerBusy` at once. A call that takes too long is abandoned; its
thread is free again when the call itself ends.
"""

import asyncio
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar, cast

from masterjob.concurrency.clock import clock
from masterjob.errors import MasterJobError

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_QueuedCall = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]

BATCH_SIZE = 16
"""The most keys that one batch reads."""

MAX_PENDING = 256
"""The most different keys that may wait; a request for one more is refused."""

PAUSE_FACTOR, MAX_PAUSE = 4.0, 0.05
"""How much longer a pause is than its batch, and the longest pause in seconds, since a slow batch mostly waits.

The CPU time of a batch counts in full, however long it was, as with thousands of locks.
"""


class ServerBusy(MasterJobError):
    """Too many calls are waiting, or one took too long. The client may try again later."""


class CallPool:
    """``threads`` concurrent calls and ``max_queued`` waiting ones, each for up to ``timeout`` seconds in all."""

    def __init__(self, name: str, threads: int = 4, max_queued: int = 64, timeout: float = 10.0) -> None:
        self._name = name
        self._max_workers = threads
        self.timeout = timeout
        self._queue: queue.Queue[_QueuedCall | None] = queue.Queue(max_queued)
        self._workers: list[threading.Thread] = []

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, or raise what it raises.

        Raises:
            ServerBusy: the queue is full, or the call took too long.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._start_workers()
        try:
            self._queue.put_nowait((loop, future, call))
        except queue.Full:
            raise ServerBusy("too many calls are waiting") from None
        try:
            async with asyncio.timeout(self.timeout):
                return await future
        except TimeoutError:
            raise ServerBusy(f"no answer within {self.timeout:g} s") from None

    def close(self) -> None:
        """End each thread after its current call, without waiting for it."""
        for _ in self._workers:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return

    def _start_workers(self) -> None:
        while len(self._workers) < self._max_workers:
            name = f"masterjob-{self._name}-{len(self._workers)}"
            thread = threading.Thread(target=self._run_worker, name=name, daemon=True)
            thread.start()
            self._workers.append(thread)

    def _run_worker(self) -> None:
        while (queued_call := self._queue.get()) is not None:
            loop, future, call = queued_call
            if future.done():  # it was abandoned while it waited
                continue
            try:
                result, error = call(), None
            except Exception as raised:  # raised again in the caller
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_complete_future, future, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                return


def _complete_future(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class SingleFlight(Generic[K, V]):
    """Shares reads: all who request the same key before its read begins get the same result.

    A request that comes while its key is being read gets the result of the next read, so no result is older than
    its request. A key is not read if all its requests have given up before. ``read_batch`` reads up to
    ``batch_size`` keys at once on a thread of ``pool``; a value may be an exception, which is then raised. At most
    ``concurrency`` batches run at a time. A batch is followed by a pause of ``pause_factor`` times its length, so
    that readers use only a part of this process's time: the heartbeats run in it too.
    """

    def __init__(
        self,
        pool: CallPool,
        read_batch: Callable[[list[K]], Mapping[K, V | Exception]],
        *,
        batch_size: int = BATCH_SIZE,
        concurrency: int = 1,
        pause_factor: float = PAUSE_FACTOR,
    ) -> None:
        self._pool = pool
        self._read_batch = read_batch
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._pause_factor = pause_factor
        self._pending: dict[K, asyncio.Future[V]] = {}
        self._waiters: Counter[asyncio.Future[V]] = Counter()
        self._running: set[K] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def fetch(self, key: K) -> V:
        """Return the value of ``key``, or raise its exception.

        Raises:
            ServerBusy: too many keys are waiting, or the value took too long.
        """
        future = self._pending.get(key)
        if future is None:
            if len(self._pending) >= MAX_PENDING:
                raise ServerBusy("too many different requests are waiting")
            future = self._pending[key] = asyncio.get_running_loop().create_future()
            if len(self._tasks) < self._concurrency:
                self._tasks.add(asyncio.create_task(self._run_batches()))
        self._waiters[future] += 1
        try:
            async with asyncio.timeout(self._pool.timeout):
                return await asyncio.shield(future)  # a client that disconnects must not cancel it for the others
        except TimeoutError:
            raise ServerBusy(f"no answer within {self._pool.timeout:g} s") from None
        finally:
            self._remove_waiter(key, future)

    def _remove_waiter(self, key: K, future: "asyncio.Future[V]") -> None:
        self._waiters[future] -= 1
        if not self._waiters[future]:
            del self._waiters[future]
            if self._pending.get(key) is future:
                del self._pending[key]  # all have given up: reading it would only delay the others

    async def _run_batches(self) -> None:
        try:
            while keys := [key for key in self._pending if key not in self._running][: self._batch_size]:
                started_at = clock()
                cpu_seconds = await self._run_batch({key: self._pending.pop(key) for key in keys})
                await asyncio.sleep(pause_after(clock() - started_at, cpu_seconds, self._pause_factor))
        finally:  # here, not in a callback: no request may come between the last look and this
            self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _run_batch(self, batch: dict[K, "asyncio.Future[V]"]) -> float:
        """Read a batch, complete its futures, and return the CPU seconds that the read took."""
        self._running |= batch.keys()
        cpu_seconds = 0.0

        def measured_read() -> list[V | Exception]:
            nonlocal cpu_seconds
            cpu_started_at = time.thread_time()
            try:
                values = self._read_batch(list(batch))
            finally:
                cpu_seconds = time.thread_time() - cpu_started_at
            return [values[key] for key in batch]

        results: list[V | Exception]
        try:
            results = await self._pool.run(measured_read)
        except Exception as error:
            results = [error] * len(batch)
        finally:
            self._running -= batch.keys()
        for future, result in zip(batch.values(), results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
                future.exception()  # mark it as retrieved: the clients may be gone
            else:
                future.set_result(result)
        return cpu_seconds


def pause_after(elapsed: float, cpu_seconds: float, factor: float = PAUSE_FACTOR) -> float:
    """Return the pause after a batch that took ``elapsed`` seconds, and ``cpu_seconds`` of CPU time."""
    return max(min(MAX_PAUSE, factor * elapsed), factor * cpu_seconds)
