"""A controller on a real SQLite file, with jobs that only tell what is done with them."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masterjob.controller.controller import Controller
from masterjob.election.errors import SettingError
from masterjob.election.ports import Job, Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.crew import Crew
from masterjob.process.process import Process
from masterjob.resource.resource import Resource
from masterjob.settings import Settings, resolve
from masterjob.store.database import Database

PATIENCE = 20.0


@dataclass
class FakeJob:
    """Runs nothing; starts and stops at once."""

    name: str
    log: "Log"
    report: Report | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        self.report = report
        self.log.note(f"{self.name} starts", term.number)
        report.started()

    def stop_within(self, seconds: float) -> None:
        pass

    def stop(self) -> None:
        if self.report is not None:
            report, self.report = self.report, None
            self.log.note(f"{self.name} stops", 0)
            report.stopped()


@dataclass
class Log:
    """What the jobs have told."""

    said: list[str] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, words: str, term: int) -> None:
        with self.changed:
            self.said.append(words)
            self.terms += [term] if term else []
            self.changed.notify_all()

    def wait_for(self, *said: str) -> None:
        """Wait until just this was said, from the beginning."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.said) >= len(said), PATIENCE), self.said
        assert self.said == list(said)


@dataclass(frozen=True)
class FakeSpec:
    """A job by name."""

    name: str
    log: Log
    error: str = ""
    kind: str = "fake"

    def check(self) -> None:
        """Nothing to find."""

    def make(self, crew: Crew, stop_timeout: float) -> Job:
        if self.error:
            raise SettingError(self.error)
        return FakeJob(self.name, self.log)


@dataclass
class Scene:
    """A controller, and what a test sees of it."""

    url: str
    log: Log = field(default_factory=Log)
    process: Process = field(default_factory=Process)

    def __post_init__(self) -> None:
        jobs = {name: FakeSpec(name, self.log) for name in ("one", "two")}
        jobs["broken"] = FakeSpec("broken", self.log, "the entry cannot be imported")
        self.settled: list[str] = []
        self.controller = Controller(self.process, self.settings, jobs, self.settled.append)
        self.controller.start()
        self.people = Database(self.url).switchboard()

    def settings(self, options: Mapping[str, object]) -> Settings:
        usual = {"heartbeat_interval": "1s", "lease_duration": "4s", "stop_timeout": "500ms", "init_delay": "0s"}
        return resolve({**usual, "database": self.url, **options}, {}, None)

    def apply(self, source: str, **what: object) -> None:
        """Apply, and wait until that is done."""
        resource = {"name": source, "lock_name": "LOCK", "job": "one", **what}
        self.controller.apply(f"file:default/{source}", Resource(**resource))  # type: ignore[arg-type]
        assert self.controller.wait_done(PATIENCE)

    def remove(self, source: str) -> None:
        self.controller.remove(f"file:default/{source}")
        assert self.controller.wait_done(PATIENCE)

    def problem(self, source: str) -> str | None:
        problem = self.controller.problem(f"file:default/{source}")
        return None if problem is None else problem.words

    def disabled(self, lock_name: str = "LOCK") -> tuple[str, str] | None:
        """Who disables the lock, and why."""
        found = [each.disabled for each in self.people.status(lock_name) if each.disabled is not None]
        return (found[0].source, found[0].reason) if found else None

    def close(self) -> None:
        self.controller.close()
        self.process.close_all("the test is over")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")
    yield scene
    scene.close()
