"""Databases and members of a benchmark, and waiting for what the members say."""

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
from masterjob.election.clock import clock

PATIENCE = 120.0
SCALED = ("--heartbeat", "500ms", "--lease", "2s", "--stop-timeout", "300ms", "--check-interval", "30s")
"""The default timing, scaled down to a sixteenth or so: a heartbeat, four of them as the lease."""

_TICK = os.sysconf("SC_CLK_TCK")
_AGE = {
    "postgresql": "extract(epoch FROM statement_timestamp()) * 1000 - heartbeat_ms",
    "mariadb": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000 - heartbeat_ms",
    "sqlite": "(julianday('now') - 2440587.5) * 86400000 - heartbeat_ms",
}


class CountingPostgreSQL(PostgreSQL):
    """A PostgreSQL that counts every statement it is given."""

    def command(self) -> Sequence[str | Path]:
        """Load the counter."""
        return [*super().command(), "-c", "shared_preload_libraries=pg_stat_statements"]


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a member's."""

    member: "Member"
    what: str
    at: float
    lock: str


class Member:
    """One process of member.py."""

    def __init__(self, world: "World", arguments: Sequence[str]) -> None:
        self._world = world
        self.imported_kib = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.member", "--database", world.url, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            self.imported_kib = said.get("kib", self.imported_kib)
            self._world.take(Said(self, said["what"], said["at"], said["lock"]))

    def go(self) -> None:
        """Let a member begin that was told to wait."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self, number: int) -> float:
        """Send a signal; return when."""
        at = clock()
        self.process.send_signal(number)
        return at

    def wait(self) -> None:
        """Wait until the process is gone, and has been heard to its end."""
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory(self, what: str = "VmRSS") -> float:
        """Resident memory in MiB, now or at its highest (``VmHWM``)."""
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0


class World:
    """One database and the members on it."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.members: list[Member] = []
        self._said: list[Said] = []
        self._changed = threading.Condition()
        scheme = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql", "sqlite": "sqlite"}[kind]
        self._engine = create_engine(scheme + url[url.index("://") :], poolclass=NullPool)

    def enter(self, *arguments: str) -> Member:
        """Start a member."""
        member = Member(self, arguments)
        self.members.append(member)
        return member

    def leave(self, member: Member, number: int) -> float:
        """End a member by a signal, and forget it; return when that was sent."""
        at = member.end(number)
        member.wait()
        self.members.remove(member)
        return at

    def close(self) -> None:
        """Kill all members."""
        for member in list(self.members):
            self.leave(member, 9)

    def take(self, said: Said) -> None:
        """Note what a member says."""
        with self._changed:
            self._said.append(said)
            self._changed.notify_all()

    def said(self, what: str, after: float = 0.0) -> list[Said]:
        """All that was said of this, later than a time."""
        with self._changed:
            return [said for said in self._said if said.what == what and said.at > after]

    def hear(self, what: str, after: float, count: int = 1) -> list[Said]:
        """Wait until this was said so often after that time, and return it."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.said(what, after)) >= count, PATIENCE):
                raise TimeoutError(f"{what} was said {len(self.said(what, after))} times, not {count}")
            return self.said(what, after)

    def forget(self) -> None:
        """Forget what was said, so that waiting stays cheap."""
        with self._changed:
            self._said.clear()

    # --- the database, past the library

    def ask(self, statement: str) -> Any:
        """Return the first value of the answer."""
        with self._engine.begin() as connection:
            answer = connection.execute(text(statement))
            row = answer.first() if answer.returns_rows else None
            return row[0] if row else None

    def sessions(self) -> int:
        """How many instances have a session."""
        return int(self.ask("SELECT COUNT(*) FROM master_session"))

    def held(self) -> int:
        """How many locks are held."""
        return int(self.ask("SELECT COUNT(*) FROM master_lock WHERE holder IS NOT NULL"))

    def beat_age(self, member: Member) -> float:
        """Seconds since the last heartbeat of a member that is dead or about to be, by the database's clock."""
        where = f"instance LIKE '%-{member.process.pid}-%'"
        return float(self.ask(f"SELECT {_AGE[self.kind]} FROM master_session WHERE {where}")) / 1000

    def await_sessions(self, count: int) -> None:
        """Wait until so many instances have a session."""
        wait_until(lambda: self.sessions() == count)


def wait_until(true: Callable[[], bool], pulse: float = 0.05) -> None:
    """Look again and again, for a bounded time."""
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("it did not come true")
        time.sleep(pulse)


class Databases:
    """The three databases, started when they are first asked for."""

    KINDS = ("postgresql", "sqlite", "mariadb")

    def __init__(self) -> None:
        self._servers: dict[str, PostgreSQL | MariaDB] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="masterjob-bench-")
        self._files = 0

    @contextmanager
    def world(self, kind: str, *, tables: bool = True) -> Iterator[World]:
        """Give a database of its own, without the tables if so wanted, and end all members on it afterwards."""
        world = World(kind, self._fresh(kind))
        if tables:
            masterjob.status(database=world.url)
        try:
            yield world
        finally:
            world.close()

    def _fresh(self, kind: str) -> str:
        if kind == "sqlite":
            self._files += 1
            return f"sqlite:///{self._directory.name}/{self._files}.sqlite3"
        if kind not in self._servers:
            server = CountingPostgreSQL() if kind == "postgresql" else MariaDB()
            server.start()
            self._servers[kind] = server
        return self._servers[kind].fresh()

    def close(self) -> None:
        """Stop what was started."""
        for server in self._servers.values():
            server.stop()
        self._directory.cleanup()
