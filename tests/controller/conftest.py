"""A controller on a real SQLite file, with jobs that only record their starts and stops."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.settings import Settings, resolve_settings
from masterjob.controller.controller import Controller
from masterjob.election.ports import Job, Report
from masterjob.election.term import LiveTerm
from masterjob.errors import SettingError
from masterjob.resource.masterjob import Resource
from masterjob.runtime.runtime import Runtime
from masterjob.store.database import Database
from tests.timeouts import WAIT_TIMEOUT


@dataclass
class FakeJob:
    """A job that runs nothing; it starts and stops at once."""

    name: str
    log: "JobLog"
    report: Report | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        self.report = report
        self.log.record(f"{self.name} starts", term.number)
        report.started()

    def set_stop_timeout(self, stop_timeout: float) -> None:
        pass

    def stop(self) -> None:
        if self.report is not None:
            report, self.report = self.report, None
            self.log.record(f"{self.name} stops", 0)
            report.stopped()


@dataclass
class JobLog:
    """What the jobs have recorded."""

    entries: list[str] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def record(self, entry: str, term: int) -> None:
        with self.changed:
            self.entries.append(entry)
            self.terms += [term] if term else []
            self.changed.notify_all()

    def wait_for(self, *entries: str) -> None:
        """Wait until exactly these entries are recorded, from the beginning."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.entries) >= len(entries), WAIT_TIMEOUT), self.entries
        assert self.entries == list(entries)


@dataclass(frozen=True)
class FakeJobSpec:
    """A job by its name."""

    name: str
    log: JobLog
    error: str = ""

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        if self.error:
            raise SettingError(self.error)
        return FakeJob(self.name, self.log)


@dataclass
class ControllerHarness:
    """A controller, with what a test needs to drive and check it."""

    url: str
    log: JobLog = field(default_factory=JobLog)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        jobs = {name: FakeJobSpec(name, self.log) for name in ("one", "two")}
        jobs["broken"] = FakeJobSpec("broken", self.log, "the entry cannot be imported")
        self.reconciled: list[str] = []
        self.controller = Controller(self.runtime, self.settings_for, jobs, self.reconciled.append)
        self.controller.start()
        self.admin = Database(self.url).lock_admin()

    def settings_for(self, options: Mapping[str, object]) -> Settings:
        defaults = {
            "heartbeat_interval": "1s",
            "lease_duration": "60s",
            "stop_timeout": "10s",
            "init_delay": "0s",
        }
        return resolve_settings({**defaults, "database": self.url, **options}, {}, None)

    def apply(self, source: str, **fields: object) -> None:
        """Apply a resource, and wait until it is reconciled."""
        resource = {"name": source, "lock_name": "LOCK", "job": "one", **fields}
        self.controller.apply(f"file:default/{source}", Resource(**resource))  # type: ignore[arg-type]
        assert self.controller.wait_idle(WAIT_TIMEOUT)

    def remove(self, source: str) -> None:
        self.controller.remove(f"file:default/{source}")
        assert self.controller.wait_idle(WAIT_TIMEOUT)

    def problem_message(self, source: str) -> str | None:
        problem = self.controller.problem_of(f"file:default/{source}")
        return None if problem is None else problem.message

    def disabled_by(self, lock_name: str = "LOCK") -> tuple[str, str] | None:
        """Return the source of the disable of a lock, and the reason."""
        found = [each.disabled for each in self.admin.status(lock_name) if each.disabled is not None]
        return (found[0].source, found[0].reason) if found else None

    def close(self) -> None:
        self.controller.close()
        self.runtime.shutdown("the test is over")


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[ControllerHarness]:
    harness = ControllerHarness(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")
    yield harness
    harness.close()
