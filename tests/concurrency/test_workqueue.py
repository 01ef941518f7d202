"""A queue of keys: each is handled once at a time, a failed one again, and none delays another."""

import threading
from collections.abc import Callable

from masterjob.concurrency.workqueue import Workqueue
from tests.timeouts import WAIT_TIMEOUT


def started_queue(handler: Callable[[str], bool], threads: int = 2) -> Workqueue:
    queue = Workqueue()
    queue.start(handler, threads)
    return queue


def test_a_failed_key_is_retried_until_it_succeeds() -> None:
    attempts: list[str] = []

    def handler(name: str) -> bool:
        attempts.append(name)
        if len(attempts) == 1:
            raise RuntimeError("a defect")
        return len(attempts) == 3

    queue = started_queue(handler)
    queue.add("a")
    assert queue.wait_idle(WAIT_TIMEOUT)
    assert attempts == ["a", "a", "a"]
    queue.close(WAIT_TIMEOUT)


def test_a_slow_key_does_not_delay_others() -> None:
    proceed, done = threading.Event(), threading.Event()

    def handler(name: str) -> bool:
        if name == "slow":
            return proceed.wait(WAIT_TIMEOUT)
        done.set()
        return True

    queue = started_queue(handler)
    queue.add("slow")
    queue.add("fast")
    assert done.wait(WAIT_TIMEOUT)
    proceed.set()
    assert queue.wait_idle(WAIT_TIMEOUT)
    queue.close(WAIT_TIMEOUT)


def test_a_key_added_while_in_flight_is_handled_once_more_and_never_twice_at_once() -> None:
    entered, proceed = threading.Semaphore(0), threading.Semaphore(0)
    running, max_running = 0, 0

    def handler(_: str) -> bool:
        nonlocal running, max_running
        running += 1
        max_running = max(max_running, running)
        entered.release()
        proceed.acquire()
        running -= 1
        return True

    queue = started_queue(handler, threads=4)
    queue.add("a")
    assert entered.acquire(timeout=WAIT_TIMEOUT)
    queue.add("a")
    queue.add("a")
    proceed.release()
    assert entered.acquire(timeout=WAIT_TIMEOUT)
    proceed.release()
    assert queue.wait_idle(WAIT_TIMEOUT)
    assert max_running == 1
    assert not entered.acquire(blocking=False)
    queue.close(WAIT_TIMEOUT)


# --- batches


def test_a_batch_has_each_due_key_once_and_no_more_than_its_limit() -> None:
    queue = Workqueue()
    queue.add("a", "b", "c")
    queue.add("a", "later", delay=60.0)
    assert queue.get_batch(2, 0.0) == ["a", "b"]
    assert queue.get_batch(2, 0.0) == ["c"]
    assert queue.get_batch(2, 0.0) == []


def test_a_key_is_due_at_the_earliest_of_its_times() -> None:
    queue = Workqueue()
    queue.add("a", delay=60.0)
    queue.add("a", delay=0.01)
    assert queue.get_batch(1, WAIT_TIMEOUT) == ["a"]


def test_a_key_in_flight_is_in_no_other_batch_until_it_is_done() -> None:
    queue = Workqueue()
    queue.add("a")
    assert queue.get_batch(1, 0.0) == ["a"]
    queue.add("a")
    assert queue.get_batch(1, 0.0) == []
    queue.done("a")
    assert queue.get_batch(1, 0.0) == ["a"]


def test_a_paused_queue_hands_out_nothing() -> None:
    queue = Workqueue()
    queue.add("a")
    queue.pause(60.0)
    assert queue.get_batch(1, 0.0) == []


def test_a_drained_queue_hands_out_what_it_has_at_once_and_accepts_nothing_more() -> None:
    queue = Workqueue()
    queue.add("a", "b", delay=60.0)
    queue.pause(60.0)
    queue.drain()
    queue.add("c")
    assert queue.get_batch(1, 0.0) == ["a"]
    assert queue.get_batch(1, 0.0) == ["b"]
    assert queue.get_batch(1, 0.0) is None
