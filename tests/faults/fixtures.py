"""The harness: starts workers, injects faults, and records what happened when."""

import ctypes
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import masterjob
from tests.faults.checker import Failover, Guarantees, failovers, find_violations
from tests.faults.events import Effect, EventLog, ObservedEvent
from tests.faults.proxy import NetworkMode, Proxy
from tests.faults.server import FaultyPostgreSQL
from tests.faults.worker import now
from tests.servers import PostgreSQLStandby
from tests.timeouts import WAIT_TIMEOUT

RANDOM_RUN_GUARANTEES = Guarantees(heartbeat=0.5, lease=2.0, stop_timeout=0.3)
"""For `make faults`: many faults in little time, on an idle machine."""

SCENARIO_GUARANTEES = Guarantees(heartbeat=1.0, lease=6.0, stop_timeout=1.5, tolerance=10.0)
"""For tests: a busy machine ends no lease, and delays a step for some seconds."""

LOCK_NAME = "JOB"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class WorkerProcess:
    """One process of worker.py, on PostgreSQL behind its own proxy."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", proxy: Proxy | None) -> None:
        self.name = name
        self.process = process
        self.proxy = proxy
        self.reader: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None


class FaultHarness:
    """Everything that a scenario needs: workers, their lock, and the events so far."""

    def __init__(self, url: str, server: FaultyPostgreSQL | None, directory: Path, guarantees: Guarantees) -> None:
        self.guarantees = guarantees
        self.url = url
        self.server = server
        self.workers: list[WorkerProcess] = []
        self.other_violations: list[str] = []
        """Violations that the checker does not cover."""
        self._directory = directory
        self._events: list[ObservedEvent] = []
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    # --- workers

    def start_worker(self, *arguments: str, wall_clock: str | None = None) -> WorkerProcess:
        """Start a worker; ``wall_clock`` is the offset of its clock by libfaketime, for example ``+3600s``."""
        name = f"w{len(self.workers) + 1}"
        proxy = Proxy(self.server.port) if self.server else None
        url = self.url if proxy is None else self.url.replace(f":{_port(self.url)}/", f":{proxy.port}/")
        with (self._directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker", *self._worker_options(url), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(fake_clock(wall_clock) if wall_clock else {})},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it only makes a system call
            )
        worker = WorkerProcess(name, process, proxy)
        worker.reader = threading.Thread(target=self._read_output, args=(worker,), daemon=True)
        worker.reader.start()
        self.workers.append(worker)
        return worker

    def _worker_options(self, url: str) -> list[str]:
        return [
            *("--database", url),
            *("--lock", LOCK_NAME),
            *("--heartbeat", f"{self.guarantees.heartbeat}s"),
            *("--lease", f"{self.guarantees.lease}s"),
            *("--stop-timeout", f"{self.guarantees.stop_timeout}s"),
        ]

    def _read_output(self, worker: WorkerProcess) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            message = json.loads(line)
            with self._changed:
                self._messages.append((worker.name, message))
                if message["what"] in ("up", "start", "stop", "late"):
                    fields = {key: message[key] for key in ("term", "since") if key in message}
                    self._events.append(ObservedEvent(message["at"], message["what"], worker.name, **fields))
                self._changed.notify_all()

    def record(self, kind: str, who: str = "") -> None:
        with self._changed:
            self._events.append(ObservedEvent(now(), kind, who))
            self._changed.notify_all()

    # --- messages of workers

    def wait_for(self, condition: Callable[[], bool], description: str = "it") -> None:
        """Wait until the condition is true; checked after each message of a worker."""
        with self._changed:
            if not self._changed.wait_for(condition, WAIT_TIMEOUT):
                raise AssertionError(f"timed out waiting for {description}; {self._recent_output()}")

    def wait_for_message(self, kind: str, worker: WorkerProcess, after: float) -> None:
        """Wait until this worker has sent this message later than ``after``."""
        self.wait_for(
            lambda: any(
                worker_name == worker.name and message["what"] == kind and message["at"] > after
                for worker_name, message in self._messages
            ),
            f"{kind} of {worker.name}",
        )

    def api_port(self, worker: WorkerProcess) -> int:
        """Return the port of a worker that serves the API."""
        self.wait_for_message("api", worker, 0.0)
        return next(
            int(message["port"])
            for name, message in self._messages
            if name == worker.name and message["what"] == "api"
        )

    def count_messages(self, kind: str, worker: WorkerProcess) -> int:
        with self._changed:
            return sum(name == worker.name and message["what"] == kind for name, message in self._messages)

    def master(self) -> WorkerProcess | None:
        """Return the worker that runs the job, as far as is known."""
        running = [run for run in self.event_log().runs() if run.cause == "end"]
        return next((worker for worker in self.workers if running and worker.name == running[-1].who), None)

    def wait_for_master(self, other_than: WorkerProcess | None = None) -> WorkerProcess:
        """Wait for a master other than ``other_than`` that has written something."""

        def is_new_master() -> bool:
            master = self.master()
            return master is not None and master is not other_than

        self.wait_for(is_new_master, "a master")
        master = self.master()
        assert master is not None
        self.wait_for_message("wrote", master, self.event_log().runs()[-1].started_at)
        return master

    # --- faults

    def kill(self, worker: WorkerProcess) -> None:
        """Send SIGKILL, which also ends a stopped process."""
        self.record("leaving", worker.name)
        worker.process.kill()
        self._wait_until_gone(worker)

    def terminate(self, worker: WorkerProcess) -> None:
        self.record("leaving", worker.name)
        worker.process.terminate()
        self._wait_until_gone(worker)

    def _wait_until_gone(self, worker: WorkerProcess) -> None:
        try:
            worker.process.wait(WAIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            worker.process.send_signal(signal.SIGUSR1)
            with self._changed:
                self._changed.wait(1.0)
            self.other_violations.append(
                f"{worker.name} did not end within {WAIT_TIMEOUT:.0f} s; {self._recent_output(6000)}"
            )
            worker.process.kill()
            worker.process.wait()
        assert worker.reader is not None
        worker.reader.join(WAIT_TIMEOUT)
        self.record("gone", worker.name)

    def pause(self, worker: WorkerProcess) -> None:
        self.record("paused", worker.name)
        worker.process.send_signal(signal.SIGSTOP)

    def resume(self, worker: WorkerProcess) -> None:
        worker.process.send_signal(signal.SIGCONT)
        self.record("resumed", worker.name)

    def disturb_network(
        self, worker: WorkerProcess, mode: NetworkMode, *, every_nth: int = 1, delay: float = 0.0
    ) -> None:
        assert worker.proxy is not None
        self.record("cut", worker.name)
        worker.proxy.set_mode(mode, every_nth=every_nth, delay=delay)

    def restore_network(self, worker: WorkerProcess) -> None:
        assert worker.proxy is not None
        worker.proxy.set_mode(NetworkMode.CLEAR)
        self.record("healed", worker.name)

    @contextmanager
    def outage(self) -> Iterator[FaultyPostgreSQL]:
        """Record an outage of the database for the duration of the block."""
        assert self.server is not None
        self.record("down")
        yield self.server
        self.record("back")

    def fail_over(self, standby: PostgreSQLStandby) -> None:
        """Replace the server, which is gone, by a standby that is promoted."""
        standby.promote()
        for worker in self.workers:
            assert worker.proxy is not None
            worker.proxy.redirect(standby.port)

    def disable(self, reason: str = "disabled by the test") -> None:
        """Disable the lock; if the outcome is unknown, the checker expects neither state."""
        self.record("disabling")
        masterjob.disable(LOCK_NAME, reason, "tester", database=self.url)
        self.record("disabled")

    def enable(self) -> None:
        self.record("enabling")
        masterjob.enable(LOCK_NAME, "tester", database=self.url)
        self.record("enabled")

    # --- results

    def event_log(self) -> EventLog:
        with self._changed:
            return EventLog.from_events(self._events)

    def close(self) -> None:
        for worker in self.workers:
            if worker.is_alive:
                worker.process.send_signal(signal.SIGCONT)
                self.kill(worker)
            if worker.process.stdout is not None:
                worker.process.stdout.close()
            if worker.proxy is not None:
                worker.proxy.close()
                worker.proxy = None

    def close_and_collect(self) -> EventLog:
        """End all workers; return the log with the effects in the table."""
        with self._changed:
            self._events.append(ObservedEvent(now(), "finished"))
            events = tuple(self._events)
        self.close()
        return EventLog.from_events(events, self._read_effects())

    def _read_effects(self) -> list[Effect]:
        if self.server is not None:
            return self.server.effects(self.url)
        with sqlite3.connect(self.url.removeprefix("sqlite:///")) as file:
            return [Effect(number, term, number) for number, term in file.execute("SELECT id, term FROM effect")]

    def assert_no_violations(self) -> list[Failover]:
        """Fail with the last events if there is a violation. Return the changes of master."""
        event_log = self.close_and_collect()
        violations = [*self.other_violations, *find_violations(event_log, self.guarantees)]
        assert not violations, "\n".join([*violations, *map(str, event_log.events[-60:])])
        return failovers(event_log)

    def _recent_output(self, max_chars: int = 600) -> str:
        logs = [(path.name, path.read_text()[-max_chars:]) for path in sorted(self._directory.glob("*.log"))]
        return f"{self._events[-12:]} {logs}"


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].partition("/")[0])


def _die_with_parent() -> None:
    """End this process with its parent by SIGKILL, which also ends a stopped process."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# --- libfaketime

_FAKETIME_DIRECTORIES = (
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib/faketime",
)


def faketime_library() -> Path | None:
    candidates = [Path(place) / "libfaketimeMT.so.1" for place in _FAKETIME_DIRECTORIES]
    return next((path for path in candidates if path.exists()), None)


def fake_clock(offset: str) -> dict[str, str]:
    """Return the environment that shifts a process's wall clock, and nothing else.

    libfaketime treats CLOCK_BOOTTIME as monotonic and would shift both. Waits on the real clock (Python's locks
    use ``sem_clockwait``, which libfaketime does not handle) would then never end. Between machines the wall clock
    differs; drift of the other clock is simulated (tests/simulation).
    An ``offset`` that begins with @ names a file that contains the offset, which may change.
    """
    library = faketime_library()
    assert library is not None
    offset_variables = (
        {"FAKETIME_TIMESTAMP_FILE": offset[1:], "FAKETIME_NO_CACHE": "1"}
        if offset[0] == "@"
        else {"FAKETIME": offset}
    )
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        **offset_variables,
    }
