"""The watch and the LIST together, against a stub API server with faults."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masterjob.concurrency.clock import clock
from masterjob.kube.api import config
from masterjob.kube.api.client import KubeApi
from masterjob.kube.informer import kopf_watch
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.informer.reflector import Reflector
from masterjob.kube.informer.relist import CRD_NOT_INSTALLED, InformerTimings, WatchScope
from masterjob.resource.masterjob import Resource
from tests.kube.stub import StubApiServer, hang, reset, respond_with
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT

TIMINGS = InformerTimings(
    gap_relist_delay=0.1,
    watch_start_timeout=60.0,
    watch_lag_limit=60.0,
    min_backoff=0.05,
    max_backoff=0.2,
    crd_poll_interval=0.1,
)

ALL_NAMESPACES = WatchScope()


@dataclass
class ReflectorHarness:
    """A stub API server, a reflector, and the resources that are delivered."""

    stub: StubApiServer
    folder: Path
    timings: InformerTimings = TIMINGS
    scope: WatchScope = ALL_NAMESPACES
    current: dict[str, Resource] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    resync_count: int = 0

    def __post_init__(self) -> None:
        self.api = KubeApi(config.load_service_account(self.stub.url, self.folder))
        self.informer = Informer("here", self, self._on_change, self.api.get)
        self.reflector = Reflector(self.api, self.scope, self.informer, self.timings)

    def apply(self, source: str, resource: Resource) -> None:
        self.current[source] = resource

    def remove(self, source: str) -> None:
        del self.current[source]

    def resync(self) -> None:
        self.resync_count += 1

    def _on_change(self, observed: ObservedResource) -> None:
        self.changes.append(f"changed {observed.name}")

    def names(self) -> list[str]:
        return sorted(resource.name for resource in list(self.current.values()))

    def wait_for(self, *names: str) -> None:
        """Wait until exactly these resources are delivered."""
        wait_until(lambda: self.names() == sorted(names))

    def wait_watching(self, watches: int = 1) -> None:
        """Wait until the watch runs, and the LISTs that its start requests are done."""
        wait_until(lambda: self.reflector.is_watching and self.stub.state.active_watches >= watches)
        wait_until(lambda: not self.informer.is_watch_behind(0.0))

    def start_watching(self, watches: int = 1) -> None:
        """Start, and wait until the watch runs."""
        self.reflector.start()
        self.wait_watching(watches)


MakeHarness = Callable[..., ReflectorHarness]


@pytest.fixture
def stub() -> Iterator[StubApiServer]:
    with StubApiServer() as stub:
        yield stub


@pytest.fixture
def make_harness(stub: StubApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHarness]:
    """Yield a function that makes harnesses; at the end of the test, none of their threads may be left."""
    for name, text in {"token": "first", "ca.crt": "an authority", "namespace": "home"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(kopf_watch, "_MIN_LOGIN_INTERVAL", 0.1)
    before = set(threading.enumerate())
    harnesses: list[ReflectorHarness] = []

    def make(**options: object) -> ReflectorHarness:
        harnesses.append(ReflectorHarness(stub, tmp_path, **options))  # type: ignore[arg-type]
        return harnesses[-1]

    yield make
    stopped = [harness.reflector.stop() for harness in harnesses]
    for harness in harnesses:
        harness.api.close()
    assert all(stopped)
    leftover = [each.name for each in set(threading.enumerate()) - before if each.name.startswith("masterjob")]
    assert leftover == []


# --- delivery


def test_existing_objects_and_their_changes_are_delivered(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.apply("a", lockName="A")
    harness = make_harness()
    harness.start_watching()
    harness.wait_for("a")
    assert harness.reflector.has_synced
    assert harness.reflector.list_error is None
    stub.apply("b", lockName="B")
    harness.wait_for("a", "b")
    stub.apply("a", lockName="A", enabled=False)
    wait_until(lambda: not harness.current["uid-1"].enabled)
    stub.delete("b")
    harness.wait_for("a")
    assert harness.reflector.restarts == 0


def test_only_the_namespaces_in_scope_are_watched(stub: StubApiServer, make_harness: MakeHarness) -> None:
    harness = make_harness(scope=WatchScope(("one", "two")))
    harness.start_watching(watches=2)
    for namespace in ("one", "two", "three"):
        stub.apply(namespace, namespace, lockName=namespace)
    harness.wait_for("one", "two")
    stub.delete("one", "one")
    harness.wait_for("two")
    assert all("/namespaces/" in asked.path for kind in ("LIST", "WATCH") for asked in stub.requests(kind))


def test_a_thousand_are_seen_at_once(stub: StubApiServer, make_harness: MakeHarness) -> None:
    for number in range(1000):
        stub.apply(f"j{number}", lockName=f"L{number}")
    harness = make_harness()
    harness.start_watching()
    assert len(harness.current) == 1000


def test_an_idle_reflector_requests_nothing_but_the_watch(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.apply("a", lockName="A")
    harness = make_harness(timings=InformerTimings(gap_relist_delay=0.1, watch_start_timeout=5.0))
    harness.start_watching()
    wait_until(lambda: stub.count_requests("LIST") == 3)  # ours, kopf's, and ours after that
    request_count = len(stub.state.requests)
    quiet = threading.Event()
    assert not quiet.wait(5.5)  # nothing must happen in that time
    assert len(stub.state.requests) == request_count
    assert (stub.count_requests("WATCH"), stub.count_requests("PATCH"), stub.count_requests("POST")) == (1, 0, 0)


def test_periodic_lists_resync_everything(make_harness: MakeHarness) -> None:
    harness = make_harness(timings=InformerTimings(relist_period=0.2))
    harness.start_watching()
    wait_until(lambda: harness.resync_count >= 2)


# --- the start


def test_nothing_is_delivered_before_all_is_listed(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.apply("a", lockName="A")
    stub.fail_always("LIST", hang)
    harness = make_harness()
    harness.reflector.start()
    wait_until(lambda: stub.count_requests("LIST") == 1)
    assert harness.changes == []
    assert not harness.reflector.has_synced
    assert stub.count_requests("WATCH") == 0


def test_delivery_starts_without_a_list_after_a_timeout(make_harness: MakeHarness, stub: StubApiServer) -> None:
    stub.stop()
    harness = make_harness(timings=InformerTimings(initial_list_timeout=0.2))
    harness.informer.handle_event(None, _body("a"))
    harness.reflector.start()
    harness.wait_for("a")
    assert not harness.reflector.has_synced


def test_an_api_server_that_is_down_at_the_start_is_waited_for(
    stub: StubApiServer, make_harness: MakeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    stub.apply("a", lockName="A")
    stub.stop()
    harness = make_harness()
    harness.reflector.start()
    wait_until(lambda: harness.reflector.list_error is not None)
    assert str(harness.reflector.list_error).startswith(
        "MasterJobs cannot be listed at the moment; the election goes on"
    )
    stub.start()
    harness.wait_watching()
    assert harness.names() == ["a"]
    assert len([each for each in caplog.messages if "cannot be listed" in each]) == 1


def test_a_crd_that_is_installed_later_is_waited_for(
    stub: StubApiServer, make_harness: MakeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    stub.state.is_crd_installed = False
    harness = make_harness()
    harness.reflector.start()
    wait_until(lambda: stub.count_requests("LIST") >= 3)
    assert caplog.messages == [CRD_NOT_INSTALLED]
    assert "kubectl apply -f crds/masterjobs.yaml" in CRD_NOT_INSTALLED
    stub.fail_next("DISCOVERY", respond_with(404))  # the type is served a moment before discovery has it
    stub.state.is_crd_installed = True
    stub.apply("a", lockName="A")
    harness.wait_watching()
    assert harness.names() == ["a"]


def test_a_missing_right_is_reported_with_its_namespace_and_the_others_are_watched(
    stub: StubApiServer, make_harness: MakeHarness
) -> None:
    stub.apply("a", "one", lockName="A")
    stub.apply("b", "two", lockName="B")
    stub.state.forbidden_namespaces = {"two"}
    harness = make_harness(
        scope=WatchScope(("one", "two")), timings=InformerTimings(initial_list_timeout=0.2, max_backoff=0.2)
    )
    harness.reflector.start()
    harness.wait_for("a")
    wait_until(lambda: harness.reflector.list_error is not None)
    assert harness.reflector.list_error == (
        "MasterJobs in namespace two cannot be listed: we need get, list and watch on masterjobs.masterjob.io "
        "there (the API server answered: masterjobs.masterjob.io is forbidden)"
    )
    assert not harness.reflector.has_synced
    stub.state.forbidden_namespaces = set()
    harness.wait_watching(watches=2)
    assert harness.names() == ["a", "b"]


def test_a_retry_after_header_is_obeyed(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.fail_next("LIST", respond_with(429, Retry_After="1"))
    harness = make_harness()
    began = clock()
    harness.reflector.start()
    harness.wait_watching()
    assert clock() - began > 1.0


# --- gaps in the watch


def test_a_deletion_in_a_gap_of_the_watch_is_found(stub: StubApiServer, make_harness: MakeHarness) -> None:
    for name in ("a", "b"):
        stub.apply(name, lockName=name)
    harness = make_harness()
    harness.start_watching()
    _delete_in_gap(stub, harness, "a")
    harness.wait_for("b")
    _delete_in_gap(stub, harness, "b")  # also the last object, when kopf has nothing to report
    harness.wait_for()
    assert harness.reflector.restarts == 0


def test_a_gap_revealed_by_http_410_is_found_too(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.apply("a", lockName="A")
    stub.apply("b", lockName="B")
    harness = make_harness()
    harness.start_watching()
    stub.fail_next("WATCH", respond_with(410))
    _delete_in_gap(stub, harness, "a")
    harness.wait_for("b")
    harness.wait_watching()
    assert harness.reflector.restarts >= 1


@pytest.mark.parametrize("code", [500, 504])
def test_the_watch_is_restarted_after_an_error_that_ends_kopf(
    stub: StubApiServer, make_harness: MakeHarness, code: int
) -> None:
    stub.apply("a", lockName="A")
    harness = make_harness()
    harness.start_watching()
    stub.close_watches(error=code)
    wait_until(lambda: harness.reflector.restarts == 1)
    stub.apply("b", lockName="B")
    harness.wait_for("a", "b")
    harness.wait_watching()


def test_a_watch_that_just_ends_is_resumed(stub: StubApiServer, make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start_watching()
    lists = stub.count_requests("LIST")
    stub.close_watches()
    wait_until(lambda: stub.count_requests("WATCH") == 2)
    stub.apply("a", lockName="A")
    harness.wait_for("a")
    assert harness.reflector.restarts == 0
    assert stub.count_requests("LIST") <= lists + 1  # perhaps the one that the start requests


@pytest.mark.parametrize(
    "fault", [respond_with(503), respond_with(403), respond_with(429, Retry_After="0"), reset]
)
def test_a_refused_watch_is_retried(
    stub: StubApiServer, make_harness: MakeHarness, fault: Callable[..., bool]
) -> None:
    harness = make_harness()
    harness.start_watching()
    stub.fail_next("WATCH", fault, times=2)
    stub.close_watches()
    stub.apply("a", lockName="A")
    harness.wait_for("a")
    assert harness.reflector.restarts == 0


def test_an_api_server_that_comes_back_is_watched_again(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.apply("a", lockName="A")
    harness = make_harness()
    harness.start_watching()
    stub.stop()
    stub.delete("a")
    stub.apply("b", lockName="B")
    assert harness.names() == ["a"]
    stub.start()
    harness.wait_for("b")


def test_deleting_the_crd_removes_nothing(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.apply("a", lockName="A")
    harness = make_harness()
    harness.start_watching()
    stub.state.is_crd_installed = False
    stub.close_watches()
    wait_until(lambda: harness.reflector.restarts >= 1)
    wait_until(lambda: harness.reflector.list_error is not None)
    assert harness.names() == ["a"]
    stub.state.is_crd_installed = True
    harness.wait_watching()
    assert harness.names() == ["a"]


def test_a_token_that_is_replaced_is_used(stub: StubApiServer, make_harness: MakeHarness, tmp_path: Path) -> None:
    stub.state.required_token = "first"
    stub.apply("a", lockName="A")
    harness = make_harness()
    harness.start_watching()
    stub.state.required_token = "second"
    stub.close_watches()
    wait_until(
        lambda: stub.count_requests("WATCH") >= 3
    )  # refused, and refused again with the same token, after a pause
    (tmp_path / "token").write_text("second")
    stub.apply("b", lockName="B")
    harness.wait_for("a", "b")
    assert harness.reflector.restarts == 0


def test_a_watch_that_is_never_answered_is_restarted(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.fail_next("WATCH", hang)
    harness = make_harness(
        timings=InformerTimings(gap_relist_delay=0.1, watch_start_timeout=5.0, min_backoff=0.05)
    )
    harness.start_watching()
    assert harness.reflector.restarts >= 1


def test_a_watch_that_does_not_deliver_what_a_list_has_found_is_restarted(
    stub: StubApiServer, make_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = make_harness(
        timings=InformerTimings(
            gap_relist_delay=0.1,
            relist_period=0.2,
            watch_start_timeout=60.0,
            watch_lag_limit=3.0,
            min_backoff=0.05,
        )
    )
    is_watch_deaf = True
    real_handle_event = harness.informer.handle_event
    monkeypatch.setattr(
        harness.informer,
        "handle_event",
        lambda kind, body: None if is_watch_deaf else real_handle_event(kind, body),
    )
    harness.start_watching()
    stub.apply("a", lockName="A")
    harness.wait_for("a")
    wait_until(lambda: harness.reflector.restarts >= 1)
    is_watch_deaf = False
    harness.wait_watching()


# --- the end


def test_it_stops_at_once_while_it_watches(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.start_watching()
    _assert_stops(harness)


def test_it_stops_at_once_while_a_list_hangs(stub: StubApiServer, make_harness: MakeHarness) -> None:
    stub.fail_always("LIST", hang)
    harness = make_harness()
    harness.reflector.start()
    wait_until(lambda: stub.count_requests("LIST") == 1)
    _assert_stops(harness)


def test_it_stops_at_once_while_a_request_for_a_missing_object_hangs(
    stub: StubApiServer, make_harness: MakeHarness
) -> None:
    stub.apply("a", lockName="A")
    harness = make_harness()
    harness.start_watching()
    stub.fail_always("GET", hang)
    _delete_in_gap(stub, harness, "a")
    wait_until(lambda: stub.count_requests("GET") == 1)
    _assert_stops(harness)
    assert harness.names() == ["a"]


@pytest.mark.parametrize("operation", ["DISCOVERY", "WATCH"])
def test_it_stops_at_once_while_kopf_starts(
    stub: StubApiServer, make_harness: MakeHarness, operation: str
) -> None:
    stub.fail_always(operation, hang)
    harness = make_harness()
    harness.reflector.start()
    wait_until(lambda: stub.count_requests(operation) >= 1)
    _assert_stops(harness)


def test_it_stops_at_once_while_the_api_server_does_not_answer(
    stub: StubApiServer, make_harness: MakeHarness
) -> None:
    stub.stop()
    harness = make_harness()
    harness.reflector.start()
    wait_until(lambda: harness.reflector.list_error is not None)
    _assert_stops(harness)


def test_it_stops_at_once_while_the_crd_is_missing_or_a_token_is_refused(
    stub: StubApiServer, make_harness: MakeHarness
) -> None:
    stub.state.is_crd_installed = False
    undefined = make_harness()
    undefined.reflector.start()
    wait_until(lambda: undefined.reflector.list_error is not None)
    _assert_stops(undefined)
    stub.state.is_crd_installed, stub.state.required_token = True, "another"
    refused = make_harness()
    refused.reflector.start()
    wait_until(lambda: refused.reflector.list_error is not None)
    _assert_stops(refused)


def test_it_can_be_stopped_before_it_was_started_and_at_once_after(make_harness: MakeHarness) -> None:
    assert make_harness().reflector.stop()
    harness = make_harness()
    harness.reflector.start()
    _assert_stops(harness)


# --- helpers


def _body(name: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": {"lockName": "LOCK"}}


def _delete_in_gap(stub: StubApiServer, harness: ReflectorHarness, name: str) -> None:
    """Delete an object while the watch is interrupted, and forget the event."""
    watches = stub.count_requests("WATCH")
    with stub.state.condition:
        del stub.state.objects["default", name]
        stub.state.watch_epoch += 1
        stub.compact_log()
    wait_until(lambda: stub.count_requests("WATCH") > watches)


def _assert_stops(harness: ReflectorHarness) -> None:
    assert harness.reflector.stop(WAIT_TIMEOUT)
    assert not harness.reflector.is_alive
