"""The status writer: only what differs, by whoever knows it, and an API server that fails delays nobody else."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.election.errors import StoreUnavailable
from masterjob.election.machine.actions import Action, Say, StartJob, StopJob
from masterjob.election.machine.events import Event, Stopped, Tick, Woken
from masterjob.election.observing import Seen
from masterjob.election.values import Entry, Term
from masterjob.election.values import Kind as Told
from masterjob.election.views import Disabled, LockStatus, MasterSeen
from masterjob.kube.api.answers import ApiRefused, ApiUnavailable, Changed
from masterjob.kube.follow.observed import Observed
from masterjob.kube.status import teller
from masterjob.kube.status.teller import Description, Pace
from masterjob.kube.status.writer import StatusWriter
from tests.kube.test_projection import observed
from tests.library.conftest import wait_until

LONG_AGO = datetime.now(UTC) - timedelta(minutes=5)
MASTER = MasterSeen("pod-a-1-x", "10.0.0.1", "pod-a", "node-1", LONG_AGO, 1.0, alive=True)
TERM = Term("JOB", 5)


@dataclass
class FakeServer:
    """One resource at an API server, and the picture that an instance has of it."""

    now: Observed = field(default_factory=observed)
    seen: Observed | None = None
    """What the picture has, where that is older."""
    written: list[Mapping[str, Any]] = field(default_factory=list)
    events: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    asked: int = 0

    def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return {"resourceVersion": self.now.resource_version}

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        if resource_version != self.now.resource_version:
            raise Changed("somebody was faster")
        self.written.append(status)
        self.now = replace(self.now, status=status, resource_version=f"{int(resource_version) + 1}")
        return {"resourceVersion": self.now.resource_version}

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        new = body["metadata"]["name"] not in self.events
        self.events.setdefault(body["metadata"]["name"], body)
        return new

    def by_lock(self, name: str) -> list[Observed]:
        return [self.seen or self.now] if name == "JOB" else []

    def all(self) -> list[Observed]:
        return self.by_lock("JOB")

    def note(self, body: Mapping[str, Any]) -> None:
        self.seen = None

    def told(self) -> list[str]:
        return sorted(body["reason"] for body in self.events.values())


@dataclass
class FakeDatabase:
    """What the database has of the lock, or that it is silent."""

    lock: LockStatus = field(
        default_factory=lambda: LockStatus("JOB", enabled=True, disabled=None, master=None, term=0)
    )
    silent: bool = False
    reads: int = 0

    def read(self, names: Iterable[str]) -> Mapping[str, LockStatus]:
        self.reads += 1
        if self.silent:
            raise StoreUnavailable("no answer")
        return {"JOB": self.lock} if "JOB" in list(names) else {}


PACE = Pace(
    soon=0.0,
    a_stop=0.0,
    others=(0.0, 0.01),
    all=(0.0, 0.01),
    outage=(0.0, 0.01),
    least_pause=0.01,
    most_pause=0.02,
)
"""A whole story takes a moment."""


@dataclass
class Scene:
    server: FakeServer = field(default_factory=FakeServer)
    database: FakeDatabase = field(default_factory=FakeDatabase)

    def __post_init__(self) -> None:
        self.doubted: list[str] = []
        self.writer = StatusWriter(self.server, self.server, self.database.read, self, "pod-a", PACE)

    def describe(self, _: Observed) -> Description:
        return Description(None, None, settled=1)

    def doubt(self, observed: Observed) -> None:
        self.doubted.append(observed.uid)

    def step(self, event: Event, *actions: Action) -> None:
        self.writer.observe(Seen("me", 0.0, event, actions))

    def elected(self) -> None:
        self.database.lock = replace(self.database.lock, master=MASTER, term=5)
        self.step(Tick(), StartJob(TERM), Say(Entry("JOB", 5, Told.ELECTED, "pod-a became master of JOB")))

    def state(self) -> str:
        found = [
            each["reason"] for each in self.server.now.status.get("conditions", ()) if each["type"] == "Ready"
        ]
        return str(found[0]) if found else "nothing"


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    scene.writer.start()
    yield scene
    scene.writer.close(5.0)


def test_an_election_is_one_write_and_one_event(scene: Scene) -> None:
    scene.elected()
    wait_until(lambda: scene.state() == "Elected" and scene.server.told() == ["Elected"])
    assert len(scene.server.written) == 1
    assert next(iter(scene.server.events.values()))["note"] == "pod-a became master of JOB"


def test_what_is_as_it_was_is_not_written(scene: Scene) -> None:
    scene.elected()
    wait_until(lambda: scene.state() == "Elected")
    for _ in range(3):
        scene.writer.look_at_all()
        before = scene.writer.counts["unchanged"]
        wait_until(lambda before=before: scene.writer.counts["unchanged"] > before)  # type: ignore[misc]
    assert len(scene.server.written) == 1


def test_a_hint_has_others_look_after_a_moment(scene: Scene) -> None:
    scene.database.lock = replace(
        scene.database.lock, enabled=False, disabled=Disabled("x", "ann", "api", LONG_AGO, None)
    )
    scene.step(Woken(frozenset({"JOB"})))
    wait_until(lambda: scene.state() == "Disabled" and scene.server.told() == ["Disabled"])
    scene.database.lock = replace(scene.database.lock, enabled=True, disabled=None)
    scene.step(Woken(None))
    wait_until(lambda: scene.state() == "Vacant" and scene.server.told() == ["Disabled", "Enabled"])


def test_who_was_overtaken_looks_again_and_leaves_it_where_it_is_right(scene: Scene) -> None:
    scene.server.seen = scene.server.now
    other = Scene(server=FakeServer(), database=scene.database)
    other.writer.start()
    other.writer.look("JOB")
    wait_until(lambda: other.state() == "Vacant")
    other.writer.close(5.0)
    scene.server.now = other.server.now
    scene.writer.look("JOB")
    wait_until(lambda: scene.writer.counts["unchanged"] == 1)
    assert scene.writer.counts["overtaken"] == 1
    assert scene.server.written == []


@pytest.mark.parametrize("failure", [ApiUnavailable("refused"), ApiUnavailable("slow down", retry_after=0.01)])
def test_what_an_api_server_did_not_take_is_written_once_it_is_back(scene: Scene, failure: Exception) -> None:
    scene.server.failures = [failure, failure, failure]
    scene.elected()
    wait_until(lambda: scene.state() == "Elected" and scene.server.told() == ["Elected"])
    assert scene.writer.counts["unavailable"] == 3


def test_a_refused_status_is_told_once_and_written_once_it_may_be(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.server.failures = [ApiRefused(403, "no"), ApiRefused(403, "no")]
    scene.elected()
    wait_until(lambda: scene.state() == "Elected" and scene.server.told() == ["Elected"])
    assert scene.writer.counts["refused"] == 2
    assert [record.message for record in caplog.records] == [
        "the status of MasterJob ns/job cannot be written: no"
    ]


def test_a_master_that_lost_the_database_says_so_and_that_it_is_back(scene: Scene) -> None:
    scene.elected()
    wait_until(lambda: scene.state() == "Elected")
    scene.database.silent = True
    scene.step(Tick(), StopJob(TERM, "its trust ended"))
    scene.step(Stopped(TERM))
    wait_until(lambda: scene.state() == "DatabaseUnavailable")
    assert "master" not in scene.server.now.status
    scene.database.lock = replace(scene.database.lock, master=None)
    scene.database.silent = False
    wait_until(lambda: scene.state() == "Vacant")


def test_an_election_elsewhere_is_left_to_its_master(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teller, "_MASTERS_TIME", 0.01)
    scene.database.lock = replace(scene.database.lock, master=replace(MASTER, since=datetime.now(UTC)), term=5)
    scene.writer.look("JOB")
    wait_until(lambda: scene.database.reads >= 2)
    assert scene.server.written == []
    scene.database.lock = replace(scene.database.lock, master=MASTER)
    wait_until(lambda: scene.state() == "Elected")


def test_the_same_is_told_by_one_event_whoever_tells_it(scene: Scene) -> None:
    entry = Entry("JOB", 5, Told.EVICTED, "pod-b was evicted")
    scene.step(Tick(), Say(entry))
    scene.step(Tick(), Say(entry))
    wait_until(lambda: scene.server.told() == ["Evicted"])


def test_the_end_writes_what_there_is_to_tell() -> None:
    scene = Scene()
    scene.writer.start()
    scene.elected()
    scene.writer.close(5.0)
    assert scene.state() == "Elected"


def test_the_end_does_not_wait_for_an_api_server_that_is_gone() -> None:
    scene = Scene()
    scene.server.failures = [ApiUnavailable("refused")] * 100
    scene.writer.start()
    scene.elected()
    scene.writer.close(5.0)
    assert scene.server.asked <= 3


def test_a_slow_api_server_holds_up_no_step_of_the_election(scene: Scene) -> None:
    go_on, hangs = threading.Event(), threading.Event()
    real: Callable[..., Any] = scene.server.patch_status

    def hanging(*args: Any) -> Any:
        hangs.set()
        go_on.wait(10.0)
        return real(*args)

    scene.server.patch_status = hanging  # type: ignore[method-assign, assignment]
    scene.elected()
    assert hangs.wait(10.0)
    for _ in range(100):
        scene.step(Woken(None))  # returns at once
    go_on.set()
    wait_until(lambda: scene.state() == "Elected")


def test_an_object_that_cannot_be_written_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = FakeServer(), Scene()
    bad.now = replace(bad.now, uid="bad", name="bad")
    real_patch, real_by_lock = good.server.patch_status, good.server.by_lock

    def patch(namespace: str, name: str, version: str, status: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if name == "bad":
            raise ApiUnavailable("a webhook fails")
        return real_patch(namespace, name, version, status)

    good.server.patch_status = patch  # type: ignore[method-assign, assignment]
    good.server.by_lock = lambda name: [bad.now, *real_by_lock(name)]  # type: ignore[method-assign]
    good.writer.start()
    good.writer.look("JOB")
    wait_until(lambda: good.state() == "Vacant")
    good.writer.close(5.0)


def test_a_defect_with_one_object_is_told_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    odd = replace(scene.server.now, name="odd", status={"conditions": [None]})
    real_by_lock = scene.server.by_lock
    scene.server.by_lock = lambda name: [odd, *real_by_lock(name)]  # type: ignore[method-assign]
    scene.writer.start()
    scene.writer.look("JOB")
    wait_until(lambda: scene.state() == "Vacant")
    scene.writer.close(5.0)
    assert "a defect while the status of MasterJob ns/odd was written" in caplog.text


def test_a_database_that_lost_the_last_terms_is_believed_after_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "_BEHIND", 0.05)
    scene.elected()
    wait_until(lambda: scene.state() == "Elected")
    scene.step(Tick(), StopJob(TERM, "closed"))
    scene.step(Stopped(TERM))
    disabled = Disabled("x", "ann", "api", LONG_AGO, None)
    scene.database.lock = replace(scene.database.lock, master=None, term=0, enabled=False, disabled=disabled)
    scene.writer.look("JOB")
    wait_until(lambda: scene.state() == "Disabled")
    assert scene.server.now.status["term"] == 5


def test_a_disable_that_stays_missing_in_the_database_is_written_again_and_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "_OVERLOOKED", 0.05)
    scene.server.now = observed(enabled=False)
    scene.elected()
    wait_until(lambda: "uid" in scene.doubted and scene.state() == "Stopping")


def test_a_disable_that_is_just_being_written_is_not_told_before_it_is(scene: Scene) -> None:
    scene.server.now = observed(enabled=False)
    scene.elected()
    wait_until(lambda: "uid" in scene.doubted)
    assert not scene.server.written
    disabled = Disabled("x", "ann", "uid", LONG_AGO, None)
    scene.database.lock = replace(scene.database.lock, master=None, enabled=False, disabled=disabled)
    scene.writer.look("JOB")
    wait_until(lambda: scene.state() == "Disabled")
    assert len(scene.server.written) == 1


def test_a_long_note_of_any_script_fits_into_an_event(scene: Scene) -> None:
    scene.step(Tick(), Say(Entry("JOB", 5, Told.EVICTED, 900 * "ü")))
    wait_until(lambda: scene.server.told() == ["Evicted"])
    assert len(next(iter(scene.server.events.values()))["note"].encode()) <= 1_000


def test_an_event_that_never_gets_an_answer_is_given_up_and_holds_up_no_status(scene: Scene) -> None:
    def silent(namespace: str, body: Mapping[str, Any]) -> bool:
        raise ApiUnavailable("a webhook fails")

    scene.server.create_event = silent  # type: ignore[method-assign]
    scene.elected()
    wait_until(lambda: scene.state() == "Elected")
