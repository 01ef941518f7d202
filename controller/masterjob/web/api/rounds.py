"""Readers share rounds: whoever asks while one is under way is answered by the next, with all others who ask.

So however many ask, the database is read by one at a time; and after each round there is a pause of some times its
length, so that readers cost this process no more than a part of its time: the heartbeats are in it too. No answer
is older than its question.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any

from masterjob.election.clock import clock
from masterjob.web.calls import Busy, Calls

PAUSES, LONGEST_PAUSE = 4.0, 0.05
"""How much longer a pause is than the round before it; and its most seconds, since a slow round mostly waits.

What this process worked in the round counts in full, however long that was, as with thousands of locks.
"""

MOST = 256
"""How many different questions may wait; one more is told to come back."""

IN_ROUND = 16
"""How many of them a round has."""

Question = Hashable
Read = Callable[[list[Any]], dict[Any, Any]]
"""Answers some questions of a kind; an answer may be an exception."""


class Rounds:
    """The questions of one kind. ``read`` answers some of them at once, on a thread that may block."""

    def __init__(self, calls: Calls, read: Read, timeout: float = 10.0) -> None:
        self._calls = calls
        self._read = read
        self._timeout = timeout
        self._waiting: dict[Question, asyncio.Future[Any]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._worked = 0.0
        """Seconds for which the last round needed a processor."""

    async def ask(self, question: Question) -> Any:
        """Return the answer.

        Raises:
            Busy: too many ask for too many things, or it took too long.
        """
        future = self._waiting.get(question)
        if future is None:
            if len(self._waiting) >= MOST:
                raise Busy("too many different questions are waiting")
            future = self._waiting[question] = asyncio.get_running_loop().create_future()
            if self._runner is None:
                self._runner = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(future)  # who goes away takes nobody else's answer along
        except TimeoutError:
            raise Busy(f"no answer within {self._timeout:g} s") from None

    async def _run(self) -> None:
        try:
            while self._waiting:
                began = clock()
                asked = {each: self._waiting.pop(each) for each in list(self._waiting)[:IN_ROUND]}
                await self._round(asked)
                await asyncio.sleep(pause_after(clock() - began, self._worked))
        finally:
            self._runner = None

    async def _round(self, asked: dict[Question, "asyncio.Future[Any]"]) -> None:
        try:
            answers = await self._calls.run(lambda: self._answers(list(asked)))
        except Exception as error:  # each of them is told
            answers = dict.fromkeys(asked, error)
        for question, future in asked.items():
            answer = answers.get(question)
            if isinstance(answer, Exception):
                future.set_exception(answer)
                future.exception()  # whoever asked may be gone
            else:
                future.set_result(answer)

    def _answers(self, asked: list[Question]) -> dict[Question, Any]:
        began = time.thread_time()
        try:
            return self._read(asked)
        finally:
            self._worked = time.thread_time() - began


def pause_after(took: float, worked: float) -> float:
    """Return how long nobody reads after a round that took so long, and that this process worked for so long."""
    return max(min(LONGEST_PAUSE, PAUSES * took), PAUSES * worked)
