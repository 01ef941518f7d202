"""Databases and instance processes of a benchmark, and waiting for what the processes report."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, text
from tests.servers import MariaDB, PostgreSQL

import masterjob
from masterjob.concurrency.clock import clock

TIMEOUT = 120.0
SCALED_TIMING = ("--heartbeat", "500ms", "--lease", "2s", "--stop-timeout", "300ms", "--check-interval", "30s")
"""The default timing, scaled down to about a sixteenth; the lease is four heartbeats."""

_CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_HEARTBEAT_AGE_SQL = {
    "postgresql": "extract(epoch FROM statement_timestamp()) * 1000 - heartbeat_ms",
    "mariadb": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000 - heartbeat_ms",
    "sqlite": "(julianday('now') - 2440587.5) * 86400000 - heartbeat_ms",
}


class CountingPostgreSQL(PostgreSQL):
    """A PostgreSQL that counts its statements."""

    def command(self) -> Sequence[str | Path]:
        """Return the command, with the counting extension loaded."""
        return [*super().command(), "-c", "shared_preload_libraries=pg_stat_statements"]


@dataclass(frozen=True, slots=True)
class OutputEvent:
    """A line that an instance process printed."""

    instance: "InstanceProcess"
    kind: str
    at: float
    lock: str


class InstanceProcess:
    """One process of instance_process.py."""

    def __init__(self, environment: "BenchEnvironment", arguments: Sequence[str]) -> None:
        self._environment = environment
        self.imported_kib = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.instance_process", "--database", environment.url, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            self.imported_kib = message.get("kib", self.imported_kib)
            self._environment.record(OutputEvent(self, message["what"], message["at"], message["lock"]))

    def proceed(self) -> None:
        """Start an instance that was started with --wait."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def send_signal(self, signal_number: int) -> float:
        """Send a signal; return the time."""
        sent_at = clock()
        self.process.send_signal(signal_number)
        return sent_at

    def wait(self) -> None:
        """Wait until the process has ended and its output was read."""
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def cpu_seconds(self) -> float:
        """Return the CPU time so far, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS_PER_SECOND

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Return the resident memory in MiB, now or at its peak (``VmHWM``)."""
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0


class BenchEnvironment:
    """One database and the instance processes on it."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.instances: list[InstanceProcess] = []
        self._events: list[OutputEvent] = []
        self._changed = threading.Condition()
        scheme = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql", "sqlite": "sqlite"}[kind]
        self._engine = create_engine(scheme + url[url.index("://") :], poolclass=NullPool)

    def start_instance(self, *arguments: str) -> InstanceProcess:
        """Start an instance process."""
        instance = InstanceProcess(self, arguments)
        self.instances.append(instance)
        return instance

    def stop_instance(self, instance: InstanceProcess, signal_number: int) -> float:
        """End an instance by a signal and remove it; return the time of the signal."""
        sent_at = instance.send_signal(signal_number)
        instance.wait()
        self.instances.remove(instance)
        return sent_at

    def close(self) -> None:
        """Kill all instances."""
        for instance in list(self.instances):
            self.stop_instance(instance, 9)

    def record(self, event: OutputEvent) -> None:
        """Record an event of an instance."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def events(self, kind: str, after: float = 0.0) -> list[OutputEvent]:
        """Return all events of a kind after a time."""
        with self._changed:
            return [event for event in self._events if event.kind == kind and event.at > after]

    def wait_for_events(self, kind: str, after: float, count: int = 1) -> list[OutputEvent]:
        """Wait for ``count`` events of a kind after a time, and return them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.events(kind, after)) >= count, TIMEOUT):
                raise TimeoutError(f"{kind}: {len(self.events(kind, after))} events instead of {count}")
            return self.events(kind, after)

    def clear_events(self) -> None:
        """Drop all events, so that waiting stays cheap."""
        with self._changed:
            self._events.clear()

    # --- the database, without the library

    def fetch_value(self, statement: str) -> Any:
        """Return the first value of the result."""
        with self._engine.begin() as connection:
            result = connection.execute(text(statement))
            row = result.first() if result.returns_rows else None
            return row[0] if row else None

    def count_sessions(self) -> int:
        """Return the number of sessions."""
        return int(self.fetch_value("SELECT COUNT(*) FROM master_session"))

    def count_held_locks(self) -> int:
        """Return the number of held locks."""
        return int(self.fetch_value("SELECT COUNT(*) FROM master_lock WHERE holder IS NOT NULL"))

    def heartbeat_age(self, instance: InstanceProcess) -> float:
        """Return the seconds since the last heartbeat of a dead instance, by the clock of the database."""
        where = f"instance LIKE '%-{instance.process.pid}-%'"
        return (
            float(self.fetch_value(f"SELECT {_HEARTBEAT_AGE_SQL[self.kind]} FROM master_session WHERE {where}"))
            / 1000
        )

    def wait_for_sessions(self, count: int) -> None:
        """Wait until there are ``count`` sessions."""
        wait_until(lambda: self.count_sessions() == count)


def wait_until(condition: Callable[[], bool], interval: float = 0.05) -> None:
    """Poll until the condition is true, for a bounded time."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not become true in time")
        time.sleep(interval)


class Databases:
    """The three databases, each started at its first use."""

    KINDS = ("postgresql", "sqlite", "mariadb")

    def __init__(self) -> None:
        self._servers: dict[str, PostgreSQL | MariaDB] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="masterjob-bench-")
        self._files = 0

    @contextmanager
    def environment(self, kind: str, *, tables: bool = True) -> Iterator[BenchEnvironment]:
        """Provide a new database, with or without tables, and end all instances on it afterwards."""
        environment = BenchEnvironment(kind, self._new_database_url(kind))
        if tables:
            masterjob.status(database=environment.url)
        try:
            yield environment
        finally:
            environment.close()

    def _new_database_url(self, kind: str) -> str:
        if kind == "sqlite":
            self._files += 1
            return f"sqlite:///{self._directory.name}/{self._files}.sqlite3"
        if kind not in self._servers:
            server = CountingPostgreSQL() if kind == "postgresql" else MariaDB()
            server.start()
            self._servers[kind] = server
        return self._servers[kind].create_database()

    def close(self) -> None:
        """Stop all servers."""
        for server in self._servers.values():
            server.stop()
        self._directory.cleanup()
