"""Doing the same thing in many threads at once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from masterjob.election.ports import Store
from masterjob.errors import StoreUnavailable
from tests.timeouts import WAIT_TIMEOUT

T = TypeVar("T")
P = ParamSpec("P")


def run_concurrently(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Start all calls at one moment, each in a thread; return their results in order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait(WAIT_TIMEOUT)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def retry(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call again after an unknown outcome, as the election does."""
    for _ in range(20):
        try:
            return call(*args, **kwargs)
        except StoreUnavailable:
            continue
    return call(*args, **kwargs)


def retrying(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Return a function that calls `retry`, for `run_concurrently`."""
    return lambda: retry(call, *args, **kwargs)


def connect_all(stores: Sequence[Store]) -> None:
    """Connect them, so that the race is about the verb and not about connecting."""
    for store in stores:
        store.list_sessions()
