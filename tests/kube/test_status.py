"""The status writer: it writes only what differs, and an API server that fails delays nothing else."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.election.core.actions import Action, RecordTransition, StartJob, StopJob
from masterjob.election.core.commands import ListSessions
from masterjob.election.core.events import CoreEvent, JobRunChanged, JobStopped, LocksChanged, Reply, Tick
from masterjob.election.observers import Step
from masterjob.election.values import HistoryEntry, SessionList, SessionRow, Term, TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.job_status import JobStatus, RunPhase, RunStatus
from masterjob.kube.api.errors import ApiConflict, ApiRefused, ApiUnavailable
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status import outages, reconciler
from masterjob.kube.status.reconciler import ControllerState
from masterjob.kube.status.writer import StatusTimings, StatusWriter
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from tests.kube.test_build import observed
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT

LONG_AGO = datetime.now(UTC) - timedelta(minutes=5)
MASTER = MasterStatus("pod-a-1-x", "10.0.0.1", "pod-a", "node-1", LONG_AGO, 1.0, alive=True, lease=24.0)
TERM = Term("JOB", 5)
JOB = JobStatus("JOB", "report", "pod-a-1-x", 5, RunPhase.RUNNING, LONG_AGO)
RUN = RunStatus(RunPhase.RUNNING, 0.0, has_run=True)


@dataclass
class FakeServer:
    """One resource at an API server, and the informer of an instance."""

    current: ObservedResource = field(default_factory=observed)
    cached: ObservedResource | None = None
    """The cached resource, if it is older."""
    written: list[Mapping[str, Any]] = field(default_factory=list)
    events: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    patch_count: int = 0

    def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return {"resourceVersion": self.current.resource_version}

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        self.patch_count += 1
        if self.failures:
            raise self.failures.pop(0)
        if resource_version != self.current.resource_version:
            raise ApiConflict("the object has changed")
        self.written.append(status)
        self.current = replace(self.current, status=status, resource_version=f"{int(resource_version) + 1}")
        return {"resourceVersion": self.current.resource_version}

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        new = body["metadata"]["name"] not in self.events
        self.events.setdefault(body["metadata"]["name"], body)
        return new

    def by_lock(self, name: str) -> list[ObservedResource]:
        return [self.cached or self.current] if name == "JOB" else []

    def all(self) -> list[ObservedResource]:
        return self.by_lock("JOB")

    def update(self, body: Mapping[str, Any]) -> None:
        self.cached = None

    def event_reasons(self) -> list[str]:
        return sorted(body["reason"] for body in self.events.values())


@dataclass
class FakeDatabase:
    """The lock in the database, which may be down."""

    lock: LockStatus = field(
        default_factory=lambda: LockStatus("JOB", enabled=True, disabled=None, master=None, term=0)
    )
    is_down: bool = False
    read_count: int = 0

    def read(self, names: Iterable[str]) -> Mapping[str, LockStatus]:
        self.read_count += 1
        if self.is_down:
            raise StoreUnavailable("no answer")
        return {"JOB": self.lock} if "JOB" in list(names) else {}


TIMINGS = StatusTimings(
    coalesce_delay=0.0,
    stop_delay=0.0,
    remote_change_delay=(0.0, 0.01),
    full_scan_delay=(0.0, 0.01),
    outage_scan_delay=(0.0, 0.01),
    min_backoff=0.01,
    max_backoff=0.02,
)
"""So that tests are fast."""


@dataclass
class StatusWriterHarness:
    server: FakeServer = field(default_factory=FakeServer)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    timings: StatusTimings = TIMINGS

    def __post_init__(self) -> None:
        self.requeued: list[str] = []
        self.outcomes: Counter[str] = Counter()
        server: Any = self.server  # stands in for the API client and for the informer
        self.writer = StatusWriter(
            server, server, self.database.read, self, "pod-a", on_outcome=self.count_outcome, timings=self.timings
        )

    def count_outcome(self, outcome: str) -> None:
        self.outcomes[outcome] += 1

    def state_of(self, _: ObservedResource) -> ControllerState:
        return ControllerState(None, None, applied_generation=1)

    def requeue(self, observed: ObservedResource) -> None:
        self.requeued.append(observed.uid)

    def publish_step(self, event: CoreEvent, *actions: Action) -> None:
        self.writer.on_step(Step("me", 0.0, event, actions))

    def elect(self) -> None:
        """Become master, with a job that runs at once."""
        self.database.lock = replace(self.database.lock, master=MASTER, term=5, job=JOB)
        self.publish_step(
            Tick(),
            StartJob(TERM),
            RecordTransition(HistoryEntry("JOB", 5, TransitionKind.ELECTED, "pod-a became master of JOB")),
        )
        self.publish_step(JobRunChanged(TERM, RUN))

    def end_term(self, reason: str = "disabled", *, is_lost: bool = False) -> None:
        """Stop the job and release the lock."""
        self.database.lock = replace(self.database.lock, master=None, job=replace(JOB, phase=None))
        self.publish_step(Tick(), StopJob(TERM, reason, is_lost))
        self.publish_step(JobRunChanged(TERM, replace(RUN, phase=RunPhase.STOPPING)))
        self.publish_step(JobStopped(TERM))

    def list_sessions(self, age_ms: int) -> None:
        """Publish a candidate's list of sessions; the heartbeat of the master has this age."""
        row = SessionRow("session", MASTER.instance, 7, age_ms, 24_000)
        self.publish_step(Reply(ListSessions(0.0), SessionList(0, (row,))))

    def ready_reason(self) -> str:
        found = [
            each["reason"] for each in self.server.current.status.get("conditions", ()) if each["type"] == "Ready"
        ]
        return str(found[0]) if found else "nothing"


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the first status of a resource at once, and report an outage after a moment."""
    monkeypatch.setattr(reconciler, "_FIRST_ELECTION_GRACE", 0.0)
    monkeypatch.setattr(outages, "OUTAGE_GRACE", 0.05)


@pytest.fixture
def harness() -> Iterator[StatusWriterHarness]:
    created = StatusWriterHarness()
    created.writer.start()
    yield created
    created.writer.close(5.0)


def test_an_election_is_one_write_and_one_event(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running" and harness.server.event_reasons() == ["Elected"])
    assert len(harness.server.written) == 1
    assert next(iter(harness.server.events.values()))["note"] == "pod-a became master of JOB"


def test_an_unchanged_status_is_not_written(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    for _ in range(3):
        harness.writer.enqueue_all()
        before = harness.outcomes["unchanged"]
        wait_until(lambda before=before: harness.outcomes["unchanged"] > before)  # type: ignore[misc]
    assert len(harness.server.written) == 1


def test_a_notification_makes_other_instances_check_after_a_moment(harness: StatusWriterHarness) -> None:
    harness.database.lock = replace(
        harness.database.lock, enabled=False, disabled=DisabledStatus("x", "ann", "api", LONG_AGO, None)
    )
    harness.publish_step(LocksChanged(frozenset({"JOB"})))
    wait_until(lambda: harness.ready_reason() == "Disabled" and harness.server.event_reasons() == ["Disabled"])
    harness.database.lock = replace(harness.database.lock, enabled=True, disabled=None)
    harness.publish_step(LocksChanged(None))
    wait_until(
        lambda: harness.ready_reason() == "Vacant" and harness.server.event_reasons() == ["Disabled", "Enabled"]
    )


def test_a_conflicting_writer_checks_again_and_keeps_a_status_that_is_right(harness: StatusWriterHarness) -> None:
    harness.server.cached = harness.server.current
    other = StatusWriterHarness(server=FakeServer(), database=harness.database)
    other.writer.start()
    other.writer.enqueue("JOB")
    wait_until(lambda: other.ready_reason() == "Vacant")
    other.writer.close(5.0)
    harness.server.current = other.server.current
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.outcomes["unchanged"] == 1)
    assert harness.outcomes["overtaken"] == 1
    assert harness.server.written == []


@pytest.mark.parametrize("failure", [ApiUnavailable("refused"), ApiUnavailable("slow down", retry_after=0.01)])
def test_a_failed_write_is_retried_once_the_api_server_is_back(
    harness: StatusWriterHarness, failure: Exception
) -> None:
    harness.server.failures = [failure, failure, failure]
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running" and harness.server.event_reasons() == ["Elected"])
    assert harness.outcomes["unavailable"] == 3


def test_a_status_refused_after_an_outage_is_retried_as_soon_as_without_one() -> None:
    harness = StatusWriterHarness(timings=replace(TIMINGS, remote_change_delay=(0.1, 0.1)))
    harness.server.failures = [*[ApiUnavailable("refused")] * 6, ApiRefused(403, "not ready yet")]
    harness.writer.start()
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    harness.writer.close(5.0)


@dataclass
class HalfBrokenServer(FakeServer):
    """It refuses the status of JOB, and never answers for that of BROKEN."""

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        raise ApiUnavailable("a webhook failed") if name == "broken" else ApiRefused(403, "forbidden")

    def by_lock(self, name: str) -> list[ObservedResource]:
        broken = replace(self.current, name="broken", lock_name="BROKEN", uid="uid-broken")
        return [broken] if name == "BROKEN" else super().by_lock(name)


def test_an_object_without_an_answer_does_not_hurry_the_retries_of_a_refused_one() -> None:
    writer = StatusWriterHarness(server=HalfBrokenServer()).writer  # not started: its batches are made here
    for failures in (1, 2, 3):
        writer._reconcile_all(["JOB"])
        with pytest.raises(ApiUnavailable):
            writer._reconcile_all(["BROKEN"])
        assert writer._object_failures == {("ns", "job"): failures}


def test_a_refused_status_is_logged_once_and_written_once_allowed(
    harness: StatusWriterHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.server.failures = [ApiRefused(403, "no"), ApiRefused(403, "no")]
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running" and harness.server.event_reasons() == ["Elected"])
    assert harness.outcomes["refused"] == 2
    assert [record.message for record in caplog.records] == [
        "the status of MasterJob ns/job cannot be written: no"
    ]


def ready_reasons(server: FakeServer) -> list[str]:
    conditions = [each for status in server.written for each in status["conditions"]]
    return [each["reason"] for each in conditions if each["type"] == "Ready"]


def test_a_master_that_lost_the_database_reports_its_stop_then_the_outage_and_the_recovery(
    harness: StatusWriterHarness,
) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    harness.database.is_down = True
    harness.end_term("no heartbeat was confirmed", is_lost=True)
    wait_until(lambda: harness.ready_reason() == "DatabaseUnavailable")
    assert ready_reasons(harness.server) == ["Running", "NotConfirmed", "DatabaseUnavailable"]
    assert "master" not in harness.server.current.status
    harness.database.is_down = False
    wait_until(lambda: harness.ready_reason() == "Vacant")


def test_a_pod_without_its_database_writes_nothing_while_its_job_runs(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    harness.database.is_down = True
    for _ in range(3):
        before = harness.database.read_count
        harness.writer.enqueue_all()
        wait_until(lambda before=before: harness.database.read_count > before)  # type: ignore[misc]
    assert ready_reasons(harness.server) == ["Running"]


def test_a_pod_without_its_database_leaves_the_status_to_others_that_write_it(
    harness: StatusWriterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "OUTAGE_GRACE", WAIT_TIMEOUT)
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    harness.database.is_down = True
    harness.end_term("no heartbeat was confirmed", is_lost=True)
    wait_until(lambda: harness.ready_reason() == "NotConfirmed")
    monkeypatch.setattr(outages, "OUTAGE_GRACE", 0.0)
    written_by_another = {**harness.server.current.status, "transitions": 2}
    harness.server.current = replace(harness.server.current, status=written_by_another)
    before = harness.database.read_count
    harness.writer.enqueue_all()
    wait_until(lambda: harness.database.read_count > before + 2)
    assert ready_reasons(harness.server) == ["Running", "NotConfirmed"]


def test_an_overdue_heartbeat_is_reported_and_so_is_its_return(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    overdue = replace(MASTER, heartbeat_age=13.0, last_heartbeat=LONG_AGO)
    harness.database.lock = replace(harness.database.lock, master=overdue)
    harness.list_sessions(age_ms=13_000)
    wait_until(lambda: harness.ready_reason() == "NotConfirmed")
    harness.database.lock = replace(harness.database.lock, master=MASTER)
    harness.list_sessions(age_ms=1_000)
    wait_until(lambda: harness.ready_reason() == "Running")


def test_lists_of_living_sessions_read_no_lock(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    reads = harness.database.read_count
    for _ in range(100):
        harness.list_sessions(age_ms=8_000)
    harness.writer.close(WAIT_TIMEOUT)
    assert harness.database.read_count == reads


def test_a_heartbeat_that_was_only_late_for_a_moment_changes_no_status(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    reads = harness.database.read_count
    harness.list_sessions(age_ms=13_000)  # the heartbeat arrives before the lock is read
    wait_until(lambda: harness.database.read_count > reads)
    harness.writer.close(WAIT_TIMEOUT)
    assert ready_reasons(harness.server) == ["Running"]


def test_a_status_waits_for_the_record_of_its_own_run(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    reads = harness.database.read_count
    harness.publish_step(JobRunChanged(TERM, replace(RUN, phase=RunPhase.COMPLETED)))
    wait_until(lambda: harness.database.read_count > reads + 1)
    assert ready_reasons(harness.server) == ["Running"]
    harness.database.lock = replace(harness.database.lock, job=replace(JOB, phase=RunPhase.COMPLETED))
    wait_until(lambda: harness.ready_reason() == "Completed")
    assert ready_reasons(harness.server) == ["Running", "Completed"]


def test_a_run_that_is_never_recorded_does_not_block_the_status(
    harness: StatusWriterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_RECORD_GRACE", 0.05)
    harness.elect()
    harness.database.lock = replace(harness.database.lock, job=None)
    wait_until(lambda: harness.ready_reason() == "Starting")
    harness.database.lock = replace(harness.database.lock, job=JOB)
    wait_until(lambda: harness.ready_reason() == "Running")


@pytest.mark.parametrize(("is_lost", "event_type"), [(True, "Warning"), (False, "Normal")])
def test_the_end_of_a_term_is_a_warning_if_it_was_lost(
    harness: StatusWriterHarness, is_lost: bool, event_type: str
) -> None:
    harness.elect()
    harness.end_term(is_lost=is_lost)
    entry = HistoryEntry("JOB", 5, TransitionKind.STEPPED_DOWN, "pod-a stepped down from JOB")
    harness.publish_step(Tick(), RecordTransition(entry))
    wait_until(lambda: harness.server.event_reasons() == ["Elected", "SteppedDown"])
    assert {each["type"] for each in harness.server.events.values() if each["reason"] == "SteppedDown"} == {
        event_type
    }


def test_each_execution_that_fails_is_one_warning_and_a_completion_is_an_event(
    harness: StatusWriterHarness,
) -> None:
    failed = replace(RUN, phase=RunPhase.FAILED, last_error="exit code 7")
    for run in (failed, failed, replace(failed, restarts=1), replace(RUN, phase=RunPhase.COMPLETED, restarts=2)):
        harness.publish_step(JobRunChanged(TERM, run))
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.server.event_reasons() == ["Completed", "StartFailed", "StartFailed"])
    notes = {each["note"] for each in harness.server.events.values() if each["type"] == "Warning"}
    assert notes == {"JOB failed on me: exit code 7"}


def test_the_status_of_an_election_elsewhere_is_left_to_its_master(
    harness: StatusWriterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_MASTER_WRITE_GRACE", 0.01)
    just_elected = replace(MASTER, since=datetime.now(UTC))
    harness.database.lock = replace(harness.database.lock, master=just_elected, term=5, job=JOB)
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.database.read_count >= 2)
    assert harness.server.written == []
    harness.database.lock = replace(harness.database.lock, master=MASTER)
    wait_until(lambda: harness.ready_reason() == "Running")


def test_the_same_transition_is_one_event(harness: StatusWriterHarness) -> None:
    entry = HistoryEntry("JOB", 5, TransitionKind.EVICTED, "pod-b was evicted")
    harness.publish_step(Tick(), RecordTransition(entry))
    harness.publish_step(Tick(), RecordTransition(entry))
    wait_until(lambda: harness.server.event_reasons() == ["Evicted"])


def test_closing_writes_pending_statuses() -> None:
    harness = StatusWriterHarness()
    harness.writer.start()
    harness.elect()
    harness.writer.close(WAIT_TIMEOUT)
    assert harness.ready_reason() == "Running"


def test_the_end_does_not_wait_for_an_api_server_that_is_down() -> None:
    harness = StatusWriterHarness()
    harness.server.failures = [ApiUnavailable("refused")] * 100
    harness.writer.start()
    harness.elect()
    harness.writer.close(5.0)
    assert harness.server.patch_count <= 3


def test_a_slow_api_server_does_not_delay_the_election(harness: StatusWriterHarness) -> None:
    go_on, hangs = threading.Event(), threading.Event()
    real_patch: Callable[..., Any] = harness.server.patch_status

    def hanging_patch(*args: Any) -> Any:
        hangs.set()
        go_on.wait(WAIT_TIMEOUT)
        return real_patch(*args)

    harness.server.patch_status = hanging_patch  # type: ignore[method-assign, assignment]
    harness.elect()
    assert hangs.wait(WAIT_TIMEOUT)
    for _ in range(100):
        harness.publish_step(LocksChanged(None))  # returns at once
    go_on.set()
    wait_until(lambda: harness.ready_reason() == "Running")


def test_an_object_that_cannot_be_written_delays_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = FakeServer(), StatusWriterHarness()
    bad.current = replace(bad.current, uid="bad", name="bad")
    real_patch, real_by_lock = good.server.patch_status, good.server.by_lock

    def patch(namespace: str, name: str, version: str, status: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if name == "bad":
            raise ApiUnavailable("a webhook fails")
        return real_patch(namespace, name, version, status)

    good.server.patch_status = patch  # type: ignore[method-assign, assignment]
    good.server.by_lock = lambda name: [bad.current, *real_by_lock(name)]  # type: ignore[method-assign]
    good.writer.start()
    good.writer.enqueue("JOB")
    wait_until(lambda: good.ready_reason() == "Vacant")
    good.writer.close(5.0)


def test_a_defect_with_one_object_is_logged_and_delays_no_other(caplog: pytest.LogCaptureFixture) -> None:
    harness = StatusWriterHarness()
    odd = replace(harness.server.current, name="odd", uid="odd", status={"conditions": [None]})
    real_by_lock = harness.server.by_lock
    harness.server.by_lock = lambda name: [odd, *real_by_lock(name)]  # type: ignore[method-assign]
    harness.writer.start()
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.ready_reason() == "Vacant")
    harness.writer.close(5.0)
    assert "a defect while the status of MasterJob ns/odd was written" in caplog.text


def test_a_database_that_lost_the_last_terms_is_believed_after_a_while(
    harness: StatusWriterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_DATABASE_LAG_GRACE", 0.05)
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
    disabled = DisabledStatus("x", "ann", "api", LONG_AGO, None)
    harness.end_term("closed")
    harness.database.lock = replace(harness.database.lock, term=0, enabled=False, disabled=disabled, job=None)
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.ready_reason() == "Disabled")
    assert harness.server.current.status["term"] == 5


def test_a_disable_that_stays_missing_in_the_database_is_written_again_and_reported(
    harness: StatusWriterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_DISABLE_GRACE", 0.05)
    harness.server.current = observed(enabled=False)
    harness.elect()
    wait_until(lambda: "uid" in harness.requeued and harness.ready_reason() == "Stopping")


def test_a_disable_that_is_being_written_is_not_reported_before_it_is(harness: StatusWriterHarness) -> None:
    harness.server.current = observed(enabled=False)
    harness.elect()
    wait_until(lambda: "uid" in harness.requeued)
    assert not harness.server.written
    disabled = DisabledStatus("x", "ann", "uid", LONG_AGO, None)
    harness.database.lock = replace(harness.database.lock, master=None, enabled=False, disabled=disabled)
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.ready_reason() == "Disabled")
    assert len(harness.server.written) == 1


def test_a_long_note_of_any_script_fits_into_an_event(harness: StatusWriterHarness) -> None:
    harness.publish_step(Tick(), RecordTransition(HistoryEntry("JOB", 5, TransitionKind.EVICTED, 900 * "ü")))
    wait_until(lambda: harness.server.event_reasons() == ["Evicted"])
    assert len(next(iter(harness.server.events.values()))["note"].encode()) <= 1_000


def test_an_event_that_never_gets_an_answer_is_dropped_and_delays_no_status(
    harness: StatusWriterHarness,
) -> None:
    def unanswered(namespace: str, body: Mapping[str, Any]) -> bool:
        raise ApiUnavailable("a webhook fails")

    harness.server.create_event = unanswered  # type: ignore[method-assign]
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Running")
