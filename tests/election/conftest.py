"""An instance with its threads, on a database whose calls can hang."""

from collections.abc import Callable, Iterator

import pytest

from masterjob.election.runner import ElectionRunner
from masterjob.election.values import Identity
from tests.election.runner_harness import HangingDatabase, no_fence
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture
def database() -> HangingDatabase:
    return HangingDatabase()


@pytest.fixture
def start_runner(database: HangingDatabase) -> Iterator[Callable[[str], ElectionRunner]]:
    started: list[ElectionRunner] = []

    def start(name: str) -> ElectionRunner:
        runner = ElectionRunner(Identity(name), database, no_fence)
        started.append(runner)
        runner.start()
        return runner

    yield start
    database.hanging_methods.clear()
    for runner in started:
        runner.shutdown("the test ends", WAIT_TIMEOUT)
