"""Starts workers, does things to them, and writes down what happened when."""

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
from tests.faults.checker import Failover, Promise, failovers, judge
from tests.faults.proxy import Proxy, Weather
from tests.faults.server import FaultyPostgreSQL
from tests.faults.story import Effect, Event, Story
from tests.faults.worker import now

PROMISE = Promise(heartbeat=0.5, lease=2.0, stop_timeout=0.3)
PATIENCE = 30.0
ENDS_WITHIN = 10.0
LOCK = "JOB"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Worker:
    """One process of worker.py, behind a network of its own where there is one."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", proxy: Proxy | None) -> None:
        self.name = name
        self.process = process
        self.proxy = proxy
        self.reader: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


class Stage:
    """All that a scenario needs: workers, their lock, and the story so far."""

    def __init__(self, url: str, server: FaultyPostgreSQL | None, directory: Path) -> None:
        self.url = url
        self.server = server
        self.workers: list[Worker] = []
        self.complaints: list[str] = []
        """What is wrong beside the promises of the checker."""
        self._directory = directory
        self._events: list[Event] = []
        self._said: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    # --- who is there

    def enter(self, *arguments: str, wall_clock: str | None = None) -> Worker:
        """Start a worker; ``wall_clock`` is what libfaketime makes of its clock, for example ``+3600s``."""
        name = f"w{len(self.workers) + 1}"
        proxy = Proxy(self.server.port) if self.server else None
        url = self.url if proxy is None else self.url.replace(f":{_port(self.url)}/", f":{proxy.port}/")
        with (self._directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker", "--database", url, "--lock", LOCK, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(fake_clock(wall_clock) if wall_clock else {})},
                preexec_fn=_die_with_us,  # noqa: PLW1509 - it calls the kernel, and nothing of ours
            )
        worker = Worker(name, process, proxy)
        worker.reader = threading.Thread(target=self._listen, args=(worker,), daemon=True)
        worker.reader.start()
        self.workers.append(worker)
        return worker

    def _listen(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            said = json.loads(line)
            with self._changed:
                self._said.append((worker.name, said))
                if said["what"] in ("up", "start", "stop", "late"):
                    more = {key: said[key] for key in ("term", "since") if key in said}
                    self._events.append(Event(said["at"], said["what"], worker.name, **more))
                self._changed.notify_all()

    def note(self, what: str, who: str = "") -> None:
        with self._changed:
            self._events.append(Event(now(), what, who))
            self._changed.notify_all()

    # --- what they say

    def wait(self, true: Callable[[], bool], what: str = "it", patience: float = PATIENCE) -> None:
        """Wait until this is true after some worker has spoken; bounded only so that a failure ends."""
        with self._changed:
            if not self._changed.wait_for(true, patience):
                raise AssertionError(f"waited for {what} in vain; {self._tail()}")

    def hear(self, what: str, worker: Worker, after: float) -> None:
        """Wait until this worker says this, later than ``after``."""
        self.wait(
            lambda: any(
                name == worker.name and said["what"] == what and said["at"] > after for name, said in self._said
            ),
            f"{what} of {worker.name}",
        )

    def heard(self, what: str, worker: Worker) -> int:
        with self._changed:
            return sum(name == worker.name and said["what"] == what for name, said in self._said)

    def master(self) -> Worker | None:
        """Whoever runs the job, as far as is known."""
        running = [run for run in self.story().runs() if run.cause == "end"]
        return next((worker for worker in self.workers if running and worker.name == running[-1].who), None)

    def await_master(self, but: Worker | None = None) -> Worker:
        """Wait until there is a master that writes, other than ``but``."""

        def there() -> bool:
            master = self.master()
            return master is not None and master is not but

        self.wait(there, "a master")
        master = self.master()
        assert master is not None
        self.hear("wrote", master, self.story().runs()[-1].began)
        return master

    # --- what happens to them

    def kill(self, worker: Worker) -> None:
        """Kill -9; a process that is stopped dies too."""
        self.note("leaving", worker.name)
        worker.process.kill()
        self._gone(worker)

    def terminate(self, worker: Worker) -> None:
        self.note("leaving", worker.name)
        worker.process.terminate()
        self._gone(worker)

    def _gone(self, worker: Worker) -> None:
        try:
            worker.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            worker.process.send_signal(signal.SIGUSR1)
            with self._changed:
                self._changed.wait(1.0)
            self.complaints.append(f"{worker.name} did not end within {ENDS_WITHIN:.0f} s; {self._tail(6000)}")
            worker.process.kill()
            worker.process.wait()
        assert worker.reader is not None
        worker.reader.join(PATIENCE)
        self.note("gone", worker.name)

    def pause(self, worker: Worker) -> None:
        self.note("paused", worker.name)
        worker.process.send_signal(signal.SIGSTOP)

    def resume(self, worker: Worker) -> None:
        worker.process.send_signal(signal.SIGCONT)
        self.note("resumed", worker.name)

    def cut(self, worker: Worker, weather: Weather, *, each: int = 1, delay: float = 0.0) -> None:
        assert worker.proxy is not None
        self.note("cut", worker.name)
        worker.proxy.set(weather, each=each, delay=delay)

    def heal(self, worker: Worker) -> None:
        assert worker.proxy is not None
        worker.proxy.set(Weather.CLEAR)
        self.note("healed", worker.name)

    @contextmanager
    def outage(self) -> Iterator[FaultyPostgreSQL]:
        """While the database is not what it should be."""
        assert self.server is not None
        self.note("down")
        yield self.server
        self.note("back")

    def disable(self, reason: str = "the test says so") -> None:
        """Disable the lock; where nobody knows whether that was done, nothing is promised either way."""
        self.note("disabling")
        masterjob.disable(LOCK, reason, "tester", database=self.url)
        self.note("disabled")

    def enable(self) -> None:
        self.note("enabling")
        masterjob.enable(LOCK, "tester", database=self.url)
        self.note("enabled")

    # --- the end

    def story(self) -> Story:
        with self._changed:
            return Story.of(self._events)

    def close(self) -> None:
        for worker in self.workers:
            if worker.alive:
                worker.process.send_signal(signal.SIGCONT)
                self.kill(worker)
            if worker.process.stdout is not None:
                worker.process.stdout.close()
            if worker.proxy is not None:
                worker.proxy.close()
                worker.proxy = None

    def whole_story(self) -> Story:
        """End the play, and add what is in the table."""
        with self._changed:
            self._events.append(Event(now(), "curtain"))
            events = tuple(self._events)
        self.close()
        return Story.of(events, self._effects())

    def _effects(self) -> list[Effect]:
        if self.server is not None:
            return self.server.effects(self.url)
        with sqlite3.connect(self.url.removeprefix("sqlite:///")) as file:
            return [Effect(number, term, number) for number, term in file.execute("SELECT id, term FROM effect")]

    def verdict(self) -> list[Failover]:
        """Judge; every violation is a failure with the story's last lines. Return the changes of master."""
        story = self.whole_story()
        violations = [*self.complaints, *judge(story, PROMISE)]
        assert not violations, "\n".join([*violations, *map(str, story.events[-60:])])
        return failovers(story)

    def _tail(self, much: int = 600) -> str:
        logs = [(path.name, path.read_text()[-much:]) for path in sorted(self._directory.glob("*.log"))]
        return f"{self._events[-12:]} {logs}"


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].partition("/")[0])


def _die_with_us() -> None:
    """Also a worker that is stopped: SIGKILL ends it where its parent has gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# --- libfaketime

_PLACES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")


def faketime_library() -> Path | None:
    found = [Path(place) / "libfaketimeMT.so.1" for place in _PLACES]
    return next((path for path in found if path.exists()), None)


def fake_clock(offset: str) -> dict[str, str]:
    """Return the environment that shifts a process's wall clock, and nothing else.

    libfaketime takes CLOCK_BOOTTIME for monotonic and would shift both, and waits that count on the real one
    (Python's locks use ``sem_clockwait``, which it does not know) would then never end. The clock that differs
    between machines is the wall clock anyway; drift of the other one is simulated (tests/simulation).
    An ``offset`` that begins with @ names a file with the offset in it, which may change.
    """
    library = faketime_library()
    assert library is not None
    what = (
        {"FAKETIME_TIMESTAMP_FILE": offset[1:], "FAKETIME_NO_CACHE": "1"}
        if offset[0] == "@"
        else {"FAKETIME": offset}
    )
    return {"LD_PRELOAD": str(library), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", **what}
