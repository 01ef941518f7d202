"""Instances behind a pooler: its other clients notice nothing of them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.conftest import Servers
from tests.library.conftest import LibraryHarness, running_harness, wait_until
from tests.servers import PgBouncer

HEARTBEATS = 5
"""With an interval of a second these last longer than every limit that the instances set for themselves."""

_LEFT_BEHIND = """
    SELECT (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
"""


@pytest.fixture(params=["pgbouncer", "pgbouncer-session"])
def pooler(request: pytest.FixtureRequest, servers: Servers) -> PgBouncer:
    server = servers.require(request.param)
    assert isinstance(server, PgBouncer)
    return server


@pytest.fixture
def pooled_harness(pooler: PgBouncer) -> Iterator[LibraryHarness]:
    yield from running_harness(pooler.create_database())


class Neighbour:
    """Another application that uses the same pool."""

    def __init__(self, url: str, sessions: int) -> None:
        self._url = url
        self._sessions = sessions

    def settings(self) -> list[list[tuple[object, ...]]]:
        """Return what `SHOW ALL` says on each session of the pool, all of which are taken for this."""
        with ExitStack() as stack:
            clients = [stack.enter_context(psycopg.connect(self._url)) for _ in range(self._sessions)]
            return [client.execute("SHOW ALL").fetchall() for client in clients]

    def left_behind(self) -> list[tuple[object, ...]]:
        with ExitStack() as stack:
            clients = [stack.enter_context(psycopg.connect(self._url)) for _ in range(self._sessions)]
            return [row for client in clients for row in client.execute(_LEFT_BEHIND)]


def beats(client: "psycopg.Connection[tuple[int]]") -> int:
    return sum(beat for (beat,) in client.execute("SELECT beat FROM master_session"))


def test_a_neighbour_has_the_same_settings_a_running_query_and_an_idle_transaction(
    pooled_harness: LibraryHarness, pooler: PgBouncer
) -> None:
    neighbour = Neighbour(pooled_harness.url, sessions=4)
    before = neighbour.settings()
    options = ("--heartbeat", "1s", "--lease", "8s", "--stop-timeout", "1s")
    for _ in range(2):
        pooled_harness.start_instance(*options)
    master = pooled_harness.wait_for("start").process
    finished = threading.Event()

    def run_query() -> None:
        with psycopg.connect(pooled_harness.url) as client:
            client.execute(f"SELECT pg_sleep({HEARTBEATS})")
        finished.set()

    thread = threading.Thread(target=run_query)
    with (
        psycopg.connect(pooled_harness.url) as idle,
        psycopg.connect(pooler.direct_url(pooled_harness.url)) as direct,
    ):
        direct.autocommit = True
        (pid,) = idle.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        thread.start()
        seen = beats(direct)
        wait_until(lambda: beats(direct) >= seen + 2 * HEARTBEATS)
        assert idle.execute("SELECT pg_backend_pid()").fetchone() == (pid,)
        assert idle.execute("SHOW ALL").fetchall() == before[0]
    thread.join()
    assert finished.is_set()
    master.send_signal(signal.SIGTERM)
    successor = pooled_harness.wait_for("start").process
    successor.send_signal(signal.SIGKILL)
    for process in (master, successor):
        process.wait()
    assert neighbour.settings() == before
    assert set(neighbour.left_behind()) == {(0, 0, 0)}
