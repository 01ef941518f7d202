"""Names to be worked on: once at a time, again when it failed, and nobody waits for another."""

import threading
from collections.abc import Callable

from masterjob.concurrency.workqueue import Workqueue

WAIT_TIMEOUT = 20.0


def started_queue(handler: Callable[[str], bool], threads: int = 2) -> Workqueue:
    queue = Workqueue(handler, threads)
    queue.start()
    return queue


def test_what_fails_is_tried_again_until_it_is_done() -> None:
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


def test_what_takes_long_holds_up_nothing_else() -> None:
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


def test_what_is_added_while_it_is_worked_on_is_worked_on_once_more_and_never_twice_at_once() -> None:
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
