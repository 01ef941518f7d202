"""The life of a run as the database has it: the same for every kind of job, on every database.

A real election, a real job and a real database. The test decides what happens to the job.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from masterjob.concurrency.backoff import Backoff
from masterjob.config.settings import resolve_settings
from masterjob.job_status import ONCE_SOURCE, JobStatus, RunPhase
from masterjob.jobs import lifecycle
from masterjob.jobs.policy import Restart
from masterjob.jobs.registry import JobSpec
from masterjob.lock_status import LockStatus
from masterjob.runtime.instance import Instance
from masterjob.runtime.runtime import Runtime
from masterjob.store.database import Database
from tests.cli.conftest import ENVIRONMENT
from tests.library.conftest import wait_until
from tests.runtime.job_kinds import CommandKind, FunctionKind, JobKind, ServiceKind, StartKind
from tests.timeouts import WAIT_TIMEOUT

ROOT = Path(__file__).parents[2]
KINDS: dict[str, Callable[[Path], JobKind]] = {
    "exec": CommandKind,
    "http": ServiceKind,
    "python-start": StartKind,
    "python-run": FunctionKind,
}

TIMING = {"heartbeatInterval": "20s", "leaseDuration": "10m", "stopTimeout": "60s"}
"""A stall of the machine ends no lease, and a job that has failed is not tried again during the test."""


class Life:
    """One instance that runs a job, and what the database says about the job."""

    def __init__(self, url: str, lock_name: str) -> None:
        self.url, self.lock_name = url, lock_name
        self.runtime = Runtime()
        self.admin = Database(url).lock_admin()
        self.instance: Instance | None = None

    def open(self, spec: JobSpec) -> None:
        options: dict[str, object] = {"database": self.url, "init_delay": "0s", "heartbeat_interval": "20s"}
        options |= {"lease_duration": TIMING["leaseDuration"], "stop_timeout": TIMING["stopTimeout"]}
        settings = resolve_settings(options, {}, None)
        job = spec.create_job(self.runtime.thread_pool, settings.timing.stop_timeout)
        self.instance = self.runtime.open_lock(self.lock_name, job, settings, "the job")

    def withdraw(self) -> None:
        assert self.instance is not None
        self.instance.withdraw(self.lock_name, "the test says so")

    def lock(self) -> LockStatus | None:
        found = self.admin.status(self.lock_name)
        return found[0] if found else None

    def wait_for(self, condition: Callable[[LockStatus, JobStatus], bool]) -> tuple[LockStatus, JobStatus]:
        """Wait until the lock and its job fulfil the condition, and return them."""
        last: list[LockStatus | None] = [None]

        def is_fulfilled() -> bool:
            last[0] = lock = self.lock()
            return lock is not None and lock.job is not None and condition(lock, lock.job)

        try:
            wait_until(is_fulfilled)
        except AssertionError:
            raise AssertionError(f"the condition did not become true: {last[0]}") from None
        lock = last[0]
        assert lock is not None
        assert lock.job is not None
        return lock, lock.job

    def wait_for_phase(self, phase: RunPhase | None) -> tuple[LockStatus, JobStatus]:
        return self.wait_for(lambda _, job: job.phase is phase)


@pytest.fixture
def life(url: str, lock_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    monkeypatch.setattr(lifecycle, "RESTART_BACKOFF", Backoff(0.0, 0.0))
    life = Life(url, lock_name)
    yield life
    assert life.runtime.shutdown("the test is over")


@pytest.fixture
def kind(request: pytest.FixtureRequest, life: Life, tmp_path: Path) -> Iterator[JobKind]:
    """The job; it ends before its instance is shut down."""
    kind = KINDS[request.param](tmp_path)
    yield kind
    kind.let_stop()
    life.runtime.shutdown("the test is over")
    kind.close()


def every_kind(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", names or list(KINDS), indirect=True)


@every_kind()
def test_a_job_that_has_not_lived_for_its_start_time_is_starting(life: Life, kind: JobKind) -> None:
    life.open(kind.spec(runs=False))
    lock, job = life.wait_for_phase(RunPhase.STARTING)
    assert (lock.state, job.job, job.term, job.restarts) == ("Starting", "the job", lock.term, 0)
    assert lock.master is not None
    assert lock.master.instance == job.instance


@every_kind()
def test_a_job_is_running_then_stopping_then_over(life: Life, kind: JobKind) -> None:
    life.open(kind.spec())
    lock, running = life.wait_for_phase(RunPhase.RUNNING)
    assert (lock.state, running.consecutive_failures, running.last_error) == ("Running", 0, "")
    life.withdraw()
    lock, stopping = life.wait_for_phase(RunPhase.STOPPING)
    assert (lock.state, stopping.term) == ("Stopping", running.term)
    assert stopping.since >= running.since
    kind.let_stop()
    lock, _ = life.wait_for(lambda lock, job: job.phase is None and lock.master is None)
    assert (lock.state, lock.current_job) == ("Vacant", None)


@every_kind("exec", "python-run")
def test_work_that_ends_completes_and_keeps_the_lock(life: Life, kind: JobKind) -> None:
    life.open(kind.spec())
    _, running = life.wait_for_phase(RunPhase.RUNNING)
    kind.end()
    lock, completed = life.wait_for_phase(RunPhase.COMPLETED)
    assert (lock.state, completed.term, completed.restarts) == ("Completed", running.term, 0)
    assert lock.master is not None


@every_kind("exec", "python-run")
def test_work_that_must_not_be_repeated_disables_its_lock(life: Life, kind: JobKind) -> None:
    life.open(kind.spec(once=True))
    life.wait_for_phase(RunPhase.RUNNING)
    kind.end()
    lock, _ = life.wait_for(lambda lock, job: not lock.enabled and lock.master is None)
    assert lock.disabled is not None
    assert (lock.state, lock.disabled.source) == ("Completed", ONCE_SOURCE)


@every_kind()
def test_a_job_that_fails_is_shown_with_its_error_after_its_lock_was_given_up(life: Life, kind: JobKind) -> None:
    kind.let_stop()
    life.open(kind.spec())
    _, running = life.wait_for_phase(RunPhase.RUNNING)
    kind.fail()
    lock, failed = life.wait_for(lambda lock, job: job.phase is RunPhase.FAILED and lock.master is None)
    assert (lock.state, failed.consecutive_failures, failed.term) == ("StartFailed", 1, running.term)
    assert kind.error in failed.last_error
    assert failed.last_error in lock.why


@every_kind("exec", "http", "python-run")
def test_a_job_that_is_restarted_in_place_keeps_its_term(life: Life, kind: JobKind) -> None:
    life.open(kind.spec(restart=Restart.ALWAYS))
    _, first = life.wait_for_phase(RunPhase.RUNNING)
    kind.end()
    lock, again = life.wait_for(lambda _, job: job.phase is RunPhase.RUNNING and job.restarts == 1)
    assert (lock.state, again.term, again.instance) == ("Running", first.term, first.instance)
    assert again.consecutive_failures == 0


@every_kind()
def test_the_next_term_replaces_the_status_of_a_master_that_was_killed(
    life: Life, kind: JobKind, tmp_path: Path
) -> None:
    with start_process(life, kind, tmp_path):
        lock, before = life.wait_for_phase(RunPhase.RUNNING)
    assert lock.current_job == before
    end_lease(life, before.instance)
    kind.let_stop()
    life.open(kind.spec())
    lock, after = life.wait_for(lambda _, job: job.phase is RunPhase.RUNNING and job.term > before.term)
    assert (lock.state, after.term, after.job) == ("Running", lock.term, "the job")
    assert after.instance != before.instance


@contextlib.contextmanager
def start_process(life: Life, kind: JobKind, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a controller that runs the job, in a process of its own, and kill it at the end."""
    config, manifest = folder / "config.json", folder / "job.json"
    settings = {"database": life.url, "initDelay": "0s"}
    config.write_text(json.dumps({"masterJobExecutor": settings, "jobs": {"job": kind.config()}}))
    resource = {"apiVersion": "masterjob.io/v1alpha1", "kind": "MasterJob", "metadata": {"name": "job"}}
    manifest.write_text(json.dumps(resource | {"spec": {"lockName": life.lock_name, "job": "job", **TIMING}}))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "masterjob", "run", str(manifest), "--config", str(config)],
        env=ENVIRONMENT | {"PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(WAIT_TIMEOUT)


def end_lease(life: Life, instance: str) -> None:
    """Do what another instance does when the lease of this one is over."""
    store = Database(life.url).connect(WAIT_TIMEOUT)
    try:
        for session in store.list_sessions().sessions:
            if session.instance == instance:
                assert store.evict(session.id, session.beat, if_stale=False)
    finally:
        store.close()
