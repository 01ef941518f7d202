"""Readers share rounds: whoever asks while one is under way is answered by the next, with all others who ask.

So however many ask, the database is read by one at a time; and after each round there is a pause of some times its
length, so that readers cost this process no more than a part of its time: the heartbeats are in it too. No answer
is older than its question.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from masterjob.election.clock import clock
from masterjob.web.calls import Busy, Calls

PAUSES, LONGEST_PAUSE = 4.0, 0.05
"""How much longer a pause is than the round before it; and its most seconds: a slow round mostly waits itself."""

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
                await asyncio.sleep(min(LONGEST_PAUSE, PAUSES * (clock() - began)))
        finally:
            self._runner = None

    async def _round(self, asked: dict[Question, "asyncio.Future[Any]"]) -> None:
        try:
            answers = await self._calls.run(lambda: self._read(list(asked)))
        except Exception as error:  # each of them is told
            answers = dict.fromkeys(asked, error)
        for question, future in asked.items():
            answer = answers.get(question)
            if isinstance(answer, Exception):
                future.set_exception(answer)
                future.exception()  # whoever asked may be gone
            else:
                future.set_result(answer)
