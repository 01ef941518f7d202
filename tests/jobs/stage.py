"""What a job meets on stage: a term, somebody to report to, threads and loops that do as they are told."""

import asyncio
import threading
from collections.abc import Callable

from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.jobs.crew import Crew

SOON = 20.0  # seconds that a test waits for what must come; nothing here waits for what must not


def live_term(trust: float = 60.0) -> LiveTerm:
    def no_fence(connection: object, term: Term) -> None:
        raise AssertionError("nobody guards here")

    return LiveTerm(Term("the lock", 7), lambda: trust, no_fence)


class Notes:
    """A report that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()

    def _note(self, word: str) -> None:
        with self._changed:
            self.told.append(word)
            self._changed.notify_all()

    def started(self) -> None:
        self._note("started")

    def start_failed(self, error: BaseException) -> None:
        self.errors.append(error)
        self._note("start failed")

    def stopped(self) -> None:
        self._note("stopped")

    def wait_for(self, word: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: word in self.told, SOON), f"{word} never came: {self.told}"


class HandCrew(Crew):
    """A crew without threads: what is handed in is called when the test says so, in the test's own thread."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def run(self, function: Callable[[], None]) -> None:
        self.waiting.append(function)

    def stand_by(self) -> None: ...

    def step(self) -> None:
        self.waiting.pop(0)()

    def settle(self) -> None:
        while self.waiting:
            self.step()


def turn(loop: asyncio.AbstractEventLoop, times: int = 10) -> None:
    """Let a loop that the test holds still do what it has to do by now."""
    for _ in range(times):
        loop.call_soon(loop.stop)
        loop.run_forever()
