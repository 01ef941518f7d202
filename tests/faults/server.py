"""A PostgreSQL that can be restarted, crashed and frozen, and keeps its data."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import psycopg

import masterjob
from tests.faults.events import Effect
from tests.servers import PostgreSQL
from tests.timeouts import WAIT_TIMEOUT

CREATE_EFFECT_TABLE = "CREATE TABLE effect (id bigserial PRIMARY KEY, term bigint NOT NULL)"


class FaultyPostgreSQL(PostgreSQL):
    """A PostgreSQL that records commit times, so that the checker need not trust the order of ids."""

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "-c", "track_commit_timestamp=on", "-c", "restart_after_crash=on"]

    def create_effect_database(self) -> str:
        """Return the URL of a new database with the tables of the election, and one for the effects of jobs.

        They are created here, because a worker that migrates them would take seconds to start.
        """
        url = self.create_database()
        masterjob.status(database=url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(CREATE_EFFECT_TABLE)
        return url

    def effects(self, url: str) -> list[Effect]:
        with psycopg.connect(url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT id, term, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM effect ORDER BY id"
            )
            return [Effect(number, term, float(committed)) for number, term, committed in rows]

    # --- faults

    def crash(self) -> None:
        """Stop at once, like `pg_ctl stop -m immediate`; the next start recovers."""
        self._stop_with(signal.SIGQUIT)

    def shut_down(self) -> None:
        """Shut down without waiting for clients, like `pg_ctl stop -m fast`."""
        self._stop_with(signal.SIGINT)

    def restart(self) -> None:
        self._process = self._spawn(self.command())
        self._wait_until_ready()

    def freeze(self, *, include_postmaster: bool) -> list[int]:
        """Pause the processes that serve clients, and the postmaster if asked; return their process ids."""
        pids = [*([self.pid] if include_postmaster else []), *self._backend_pids()]
        for pid in pids:
            _send_signal(pid, signal.SIGSTOP)
        return pids

    @staticmethod
    def thaw(pids: Sequence[int]) -> None:
        for pid in pids:
            _send_signal(pid, signal.SIGCONT)

    def _stop_with(self, signal_number: signal.Signals) -> None:
        process = self._process
        assert process is not None
        process.send_signal(signal_number)
        process.wait(WAIT_TIMEOUT)

    def _backend_pids(self) -> list[int]:
        """Return the backends that serve clients over the network; their titles contain the address."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"127.0.0.1" in _process_title(pid)]


def _process_title(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _send_signal(pid: int, signal_number: signal.Signals) -> None:
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return
