"""The status writer: it writes only what differs, and an API server that fails delays nothing else."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.election.core.actions import Action, RecordTransition, StartJob, StopJob
from masterjob.election.core.events import CoreEvent, JobStopped, LocksChanged, Tick
from masterjob.election.observers import Step
from masterjob.election.values import HistoryEntry, Term, TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.kube.api.errors import ApiConflict, ApiRefused, ApiUnavailable
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status import reconciler
from masterjob.kube.status.reconciler import ControllerState
from masterjob.kube.status.writer import StatusTimings, StatusWriter
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from tests.kube.test_build import observed
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT

LONG_AGO = datetime.now(UTC) - timedelta(minutes=5)
MASTER = MasterStatus("pod-a-1-x", "10.0.0.1", "pod-a", "node-1", LONG_AGO, 1.0, alive=True)
TERM = Term("JOB", 5)


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
        self.database.lock = replace(self.database.lock, master=MASTER, term=5)
        self.publish_step(
            Tick(),
            StartJob(TERM),
            RecordTransition(HistoryEntry("JOB", 5, TransitionKind.ELECTED, "pod-a became master of JOB")),
        )

    def ready_reason(self) -> str:
        found = [
            each["reason"] for each in self.server.current.status.get("conditions", ()) if each["type"] == "Ready"
        ]
        return str(found[0]) if found else "nothing"


@pytest.fixture
def harness() -> Iterator[StatusWriterHarness]:
    created = StatusWriterHarness()
    created.writer.start()
    yield created
    created.writer.close(5.0)


def test_an_election_is_one_write_and_one_event(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Elected" and harness.server.event_reasons() == ["Elected"])
    assert len(harness.server.written) == 1
    assert next(iter(harness.server.events.values()))["note"] == "pod-a became master of JOB"


def test_an_unchanged_status_is_not_written(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Elected")
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
    wait_until(lambda: harness.ready_reason() == "Elected" and harness.server.event_reasons() == ["Elected"])
    assert harness.outcomes["unavailable"] == 3


def test_a_status_refused_after_an_outage_is_retried_as_soon_as_without_one() -> None:
    harness = StatusWriterHarness(timings=replace(TIMINGS, remote_change_delay=(0.1, 0.1)))
    harness.server.failures = [*[ApiUnavailable("refused")] * 6, ApiRefused(403, "not ready yet")]
    harness.writer.start()
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Elected")
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
    wait_until(lambda: harness.ready_reason() == "Elected" and harness.server.event_reasons() == ["Elected"])
    assert harness.outcomes["refused"] == 2
    assert [record.message for record in caplog.records] == [
        "the status of MasterJob ns/job cannot be written: no"
    ]


def test_a_master_that_lost_the_database_reports_the_loss_and_the_recovery(harness: StatusWriterHarness) -> None:
    harness.elect()
    wait_until(lambda: harness.ready_reason() == "Elected")
    harness.database.is_down = True
    harness.publish_step(Tick(), StopJob(TERM, "its trust ended"))
    harness.publish_step(JobStopped(TERM))
    wait_until(lambda: harness.ready_reason() == "DatabaseUnavailable")
    assert "master" not in harness.server.current.status
    harness.database.lock = replace(harness.database.lock, master=None)
    harness.database.is_down = False
    wait_until(lambda: harness.ready_reason() == "Vacant")


def test_the_status_of_an_election_elsewhere_is_left_to_its_master(
    harness: StatusWriterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_MASTER_WRITE_GRACE", 0.01)
    harness.database.lock = replace(harness.database.lock, master=replace(MASTER, since=datetime.now(UTC)), term=5)
    harness.writer.enqueue("JOB")
    wait_until(lambda: harness.database.read_count >= 2)
    assert harness.server.written == []
    harness.database.lock = replace(harness.database.lock, master=MASTER)
    wait_until(lambda: harness.ready_reason() == "Elected")


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
    assert harness.ready_reason() == "Elected"


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
    wait_until(lambda: harness.ready_reason() == "Elected")


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
    odd = replace(harness.server.current, name="odd", status={"conditions": [None]})
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
    wait_until(lambda: harness.ready_reason() == "Elected")
    harness.publish_step(Tick(), StopJob(TERM, "closed"))
    harness.publish_step(JobStopped(TERM))
    disabled = DisabledStatus("x", "ann", "api", LONG_AGO, None)
    harness.database.lock = replace(harness.database.lock, master=None, term=0, enabled=False, disabled=disabled)
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
    wait_until(lambda: harness.ready_reason() == "Elected")
