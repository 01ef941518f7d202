"""The threads that execute commands."""

import threading
from typing import cast

from masterjob.election.core.commands import ListSessions
from masterjob.election.core.events import CoreEvent
from masterjob.election.ports import Store
from masterjob.election.workers import ConnectionWorkers
from tests.timeouts import WAIT_TIMEOUT


class HangingStore:
    """A connection whose call returns only when it is aborted."""

    def __init__(self) -> None:
        self.called, self.aborted = threading.Event(), threading.Event()

    def list_sessions(self) -> None:
        self.called.set()
        self.aborted.wait(WAIT_TIMEOUT)

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        """Do nothing."""


def test_the_call_of_an_abandoned_command_is_aborted() -> None:
    store, outcomes = HangingStore(), list[CoreEvent]()
    workers = ConnectionWorkers(lambda _timeout: cast("Store", store), outcomes.append)
    command = ListSessions(0.0)
    workers.submit(command)
    assert store.called.wait(WAIT_TIMEOUT)
    workers.abandon(command)
    assert store.aborted.is_set()
    workers.close(WAIT_TIMEOUT)
