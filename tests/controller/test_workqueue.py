"""Names to be worked on: once at a time, again when it failed, and nobody waits for another."""

import threading
from collections.abc import Callable

from masterjob.controller.workqueue import Workqueue

PATIENCE = 20.0


def working(work: Callable[[str], bool], threads: int = 2) -> Workqueue:
    queue = Workqueue(work, threads)
    queue.start()
    return queue


def test_what_fails_is_tried_again_until_it_is_done() -> None:
    tries: list[str] = []

    def work(name: str) -> bool:
        tries.append(name)
        if len(tries) == 1:
            raise RuntimeError("a defect")
        return len(tries) == 3

    queue = working(work)
    queue.add("a")
    assert queue.wait_done(PATIENCE)
    assert tries == ["a", "a", "a"]
    queue.close(PATIENCE)


def test_what_takes_long_holds_up_nothing_else() -> None:
    go_on, done = threading.Event(), threading.Event()

    def work(name: str) -> bool:
        if name == "slow":
            return go_on.wait(PATIENCE)
        done.set()
        return True

    queue = working(work)
    queue.add("slow")
    queue.add("fast")
    assert done.wait(PATIENCE)
    go_on.set()
    assert queue.wait_done(PATIENCE)
    queue.close(PATIENCE)


def test_what_is_added_while_it_is_worked_on_is_worked_on_once_more_and_never_twice_at_once() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    inside, most = 0, 0

    def work(_: str) -> bool:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        begun.release()
        go_on.acquire()
        inside -= 1
        return True

    queue = working(work, threads=4)
    queue.add("a")
    assert begun.acquire(timeout=PATIENCE)
    queue.add("a")
    queue.add("a")
    go_on.release()
    assert begun.acquire(timeout=PATIENCE)
    go_on.release()
    assert queue.wait_done(PATIENCE)
    assert most == 1
    assert not begun.acquire(blocking=False)
    queue.close(PATIENCE)
