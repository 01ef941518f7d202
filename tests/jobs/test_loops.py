"""Our own event loop, which all coroutine jobs of a process share."""

import asyncio
import logging
import threading

import pytest

from masterjob.jobs.python.loops import shared_loop
from tests.timeouts import WAIT_TIMEOUT


def test_a_task_that_raises_system_exit_ends_no_other_job(caplog: pytest.LogCaptureFixture) -> None:
    loop = shared_loop()

    def end_it_all() -> None:
        raise SystemExit(3)

    with caplog.at_level(logging.ERROR, "masterjob.jobs"):
        loop.call_soon_threadsafe(end_it_all)
        went_on = threading.Event()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(WAIT_TIMEOUT)
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(WAIT_TIMEOUT)
    assert "the loop goes on" in caplog.text
