"""The watch and the LIST together, against an API server that does wrong as told: what comes of the resources."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masterjob.election.clock import clock
from masterjob.kube.api import login
from masterjob.kube.api.client import Api
from masterjob.kube.follow import session
from masterjob.kube.follow.lister import MISSING, Pace, Scope
from masterjob.kube.follow.mirror import Mirror
from masterjob.kube.follow.observed import Observed
from masterjob.kube.follow.watcher import Watcher
from masterjob.resource.resource import Resource
from tests.kube.stub import Stub, answer, hang, reset
from tests.library.conftest import PATIENCE, wait_until

PACE = Pace(settle=0.1, hearing=2.0, telling=2.0, least_pause=0.05, most_pause=0.2, definition=0.1)

EVERYWHERE = Scope()


@dataclass
class Scene:
    """An API server, a watcher of it, and what comes of that."""

    stub: Stub
    folder: Path
    pace: Pace = PACE
    scope: Scope = EVERYWHERE
    now: dict[str, Resource] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    repeats: int = 0

    def __post_init__(self) -> None:
        self.api = Api(login.service_account(self.stub.url, self.folder))
        self.mirror = Mirror("here", self, self._changed, self.api.get)
        self.watcher = Watcher(self.api, self.scope, self.mirror, self.pace)

    def apply(self, source: str, resource: Resource) -> None:
        self.now[source] = resource

    def remove(self, source: str) -> None:
        del self.now[source]

    def repeat(self) -> None:
        self.repeats += 1

    def _changed(self, observed: Observed) -> None:
        self.told.append(f"changed {observed.name}")

    def names(self) -> list[str]:
        return sorted(resource.name for resource in list(self.now.values()))

    def wait_for(self, *names: str) -> None:
        """Wait until just these are followed."""
        wait_until(lambda: self.names() == sorted(names))

    def wait_hears(self, watches: int = 1) -> None:
        """Wait until the watch runs, and the LISTs that its beginning asks for are done."""
        wait_until(lambda: self.watcher.hears and self.stub.world.watching >= watches)
        wait_until(lambda: not self.mirror.unheard(0.0))

    def follow(self, watches: int = 1) -> None:
        """Start, and wait until the watch runs."""
        self.watcher.start()
        self.wait_hears(watches)


Begin = Callable[..., Scene]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def begin(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Makes scenes; at the end of the test no thread of theirs may be left."""
    for name, text in {"token": "first", "ca.crt": "an authority", "namespace": "home"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(session, "_PAUSE", 0.1)
    before = set(threading.enumerate())
    scenes: list[Scene] = []

    def begin(**more: object) -> Scene:
        scenes.append(Scene(stub, tmp_path, **more))  # type: ignore[arg-type]
        return scenes[-1]

    yield begin
    stopped = [scene.watcher.stop() for scene in scenes]
    for scene in scenes:
        scene.api.close()
    assert all(stopped)
    left = [each.name for each in set(threading.enumerate()) - before if each.name.startswith("masterjob")]
    assert left == []


# --- what is followed


def test_what_is_there_is_followed_and_so_are_its_changes(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    scene = begin()
    scene.follow()
    scene.wait_for("a")
    assert scene.watcher.listed
    assert scene.watcher.trouble is None
    stub.put("b", lockName="B")
    scene.wait_for("a", "b")
    stub.put("a", lockName="A", enabled=False)
    wait_until(lambda: not scene.now["uid-1"].enabled)
    stub.delete("b")
    scene.wait_for("a")
    assert scene.watcher.restarts == 0


def test_two_namespaces_are_followed_and_no_third(stub: Stub, begin: Begin) -> None:
    scene = begin(scope=Scope(("one", "two")))
    scene.follow(watches=2)
    for namespace in ("one", "two", "three"):
        stub.put(namespace, namespace, lockName=namespace)
    scene.wait_for("one", "two")
    stub.delete("one", "one")
    scene.wait_for("two")
    assert all("/namespaces/" in asked.path for kind in ("LIST", "WATCH") for asked in stub.asked(kind))


def test_a_thousand_are_seen_at_once(stub: Stub, begin: Begin) -> None:
    for number in range(1000):
        stub.put(f"j{number}", lockName=f"L{number}")
    scene = begin()
    scene.follow()
    assert len(scene.now) == 1000


def test_a_quiet_watcher_asks_for_nothing_but_the_watch(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    scene = begin(pace=Pace(settle=0.1, hearing=0.3))
    scene.follow()
    wait_until(lambda: stub.count("LIST") == 3)  # ours, kopf's, and the one after that
    asked = len(stub.world.asked)
    quiet = threading.Event()
    assert not quiet.wait(1.0)  # nothing is waited for: nothing has to happen
    assert len(stub.world.asked) == asked
    assert (stub.count("WATCH"), stub.count("PATCH"), stub.count("POST")) == (1, 0, 0)


def test_slow_lists_have_everything_looked_at_again(begin: Begin) -> None:
    scene = begin(pace=Pace(slow=0.2))
    scene.follow()
    wait_until(lambda: scene.repeats >= 2)


# --- the start


def test_nothing_is_told_before_all_is_listed(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    stub.fail_always("LIST", hang)
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: stub.count("LIST") == 1)
    assert scene.told == []
    assert not scene.watcher.listed
    assert stub.count("WATCH") == 0


def test_nothing_is_held_back_for_ever(begin: Begin, stub: Stub) -> None:
    stub.down()
    scene = begin(pace=Pace(held_back=0.2))
    scene.mirror.seen(None, _found("a"))
    scene.watcher.start()
    scene.wait_for("a")
    assert not scene.watcher.listed


def test_an_api_server_that_is_down_at_the_start_is_waited_for(
    stub: Stub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    stub.put("a", lockName="A")
    stub.down()
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: scene.watcher.trouble is not None)
    assert str(scene.watcher.trouble).startswith("MasterJobs cannot be listed at the moment, the election goes on")
    stub.up()
    scene.wait_hears()
    assert scene.names() == ["a"]
    assert len([each for each in caplog.messages if "cannot be listed" in each]) == 1


def test_a_definition_that_is_made_later_is_waited_for(
    stub: Stub, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    stub.world.defined = False
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: stub.count("LIST") >= 3)
    assert caplog.messages == [MISSING]
    assert "kubectl apply -f crds/masterjobs.yaml" in MISSING
    stub.fail_next("DISCOVERY", answer(404))  # it is known a moment before discovery tells
    stub.world.defined = True
    stub.put("a", lockName="A")
    scene.wait_hears()
    assert scene.names() == ["a"]


def test_a_missing_right_is_told_with_its_namespace_and_the_others_are_followed(stub: Stub, begin: Begin) -> None:
    stub.put("a", "one", lockName="A")
    stub.put("b", "two", lockName="B")
    stub.world.forbidden = {"two"}
    scene = begin(scope=Scope(("one", "two")), pace=Pace(held_back=0.2, most_pause=0.2))
    scene.watcher.start()
    scene.wait_for("a")
    assert scene.watcher.trouble == (
        "MasterJobs in namespace two cannot be listed: we need get, list and watch on masterjobs.masterjob.io "
        "there (the API server says: masterjobs.masterjob.io is forbidden)"
    )
    assert not scene.watcher.listed
    stub.world.forbidden = set()
    scene.wait_hears(watches=2)
    assert scene.names() == ["a", "b"]


def test_who_is_asked_to_wait_waits(stub: Stub, begin: Begin) -> None:
    stub.fail_next("LIST", answer(429, Retry_After="1"))
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: scene.watcher.trouble is not None)
    began = clock()
    scene.wait_hears()
    assert clock() - began > 0.8


# --- gaps in the watch


def test_what_vanishes_in_a_gap_is_found_missing(stub: Stub, begin: Begin) -> None:
    for name in ("a", "b"):
        stub.put(name, lockName=name)
    scene = begin()
    scene.follow()
    _gap(stub, scene, "a")
    scene.wait_for("b")
    _gap(stub, scene, "b")  # and so is the last one, when kopf has nothing to tell at all
    scene.wait_for()
    assert scene.watcher.restarts == 0


def test_a_gap_that_the_status_tells_of_is_one_too(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    stub.put("b", lockName="B")
    scene = begin()
    scene.follow()
    stub.fail_next("WATCH", answer(410))
    _gap(stub, scene, "a")
    scene.wait_for("b")
    scene.wait_hears()
    assert scene.watcher.restarts == 1


@pytest.mark.parametrize("code", [500, 504])
def test_an_error_that_ends_kopf_begins_the_watch_again(stub: Stub, begin: Begin, code: int) -> None:
    stub.put("a", lockName="A")
    scene = begin()
    scene.follow()
    stub.end_watches(error=code)
    wait_until(lambda: scene.watcher.restarts == 1)
    stub.put("b", lockName="B")
    scene.wait_for("a", "b")
    scene.wait_hears()


def test_a_watch_that_just_ends_goes_on_where_it_was(stub: Stub, begin: Begin) -> None:
    scene = begin()
    scene.follow()
    lists = stub.count("LIST")
    stub.end_watches()
    wait_until(lambda: stub.count("WATCH") == 2)
    stub.put("a", lockName="A")
    scene.wait_for("a")
    assert scene.watcher.restarts == 0
    assert stub.count("LIST") <= lists + 1  # perhaps the one that the beginning asks for


@pytest.mark.parametrize("fault", [answer(503), answer(403), answer(429, Retry_After="0"), reset])
def test_a_watch_that_is_turned_away_comes_again(stub: Stub, begin: Begin, fault: Callable[..., bool]) -> None:
    scene = begin()
    scene.follow()
    stub.fail_next("WATCH", fault, times=2)
    stub.end_watches()
    stub.put("a", lockName="A")
    scene.wait_for("a")
    assert scene.watcher.restarts == 0


def test_an_api_server_that_goes_and_comes_again_is_followed_as_before(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    scene = begin()
    scene.follow()
    stub.down()
    stub.delete("a")
    stub.put("b", lockName="B")
    assert scene.names() == ["a"]
    stub.up()
    scene.wait_for("b")


def test_a_definition_that_is_taken_away_removes_nothing(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    scene = begin()
    scene.follow()
    stub.world.defined = False
    stub.end_watches()
    wait_until(lambda: scene.watcher.restarts >= 1)
    wait_until(lambda: scene.watcher.trouble is not None)
    assert scene.names() == ["a"]
    stub.world.defined = True
    scene.wait_hears()
    assert scene.names() == ["a"]


def test_a_token_that_is_replaced_is_used(stub: Stub, begin: Begin, tmp_path: Path) -> None:
    stub.world.token = "first"
    stub.put("a", lockName="A")
    scene = begin()
    scene.follow()
    stub.world.token = "second"
    stub.end_watches()
    wait_until(
        lambda: stub.count("WATCH") >= 3
    )  # refused, and refused again with the same one, not without a pause
    (tmp_path / "token").write_text("second")
    stub.put("b", lockName="B")
    scene.wait_for("a", "b")
    assert scene.watcher.restarts == 0


def test_a_watch_that_is_never_answered_is_begun_again(stub: Stub, begin: Begin) -> None:
    stub.fail_next("WATCH", hang)
    scene = begin(pace=Pace(settle=0.1, hearing=0.3, least_pause=0.05))
    scene.follow()
    assert scene.watcher.restarts == 1


def test_a_watch_that_does_not_tell_what_a_list_has_found_is_begun_again(
    stub: Stub, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = begin(pace=Pace(settle=0.1, slow=0.2, hearing=0.2, telling=0.4, least_pause=0.05))
    deaf = True
    seen = scene.mirror.seen
    monkeypatch.setattr(scene.mirror, "seen", lambda kind, body: None if deaf else seen(kind, body))
    scene.follow()
    stub.put("a", lockName="A")
    scene.wait_for("a")
    wait_until(lambda: scene.watcher.restarts >= 1)
    deaf = False
    scene.wait_hears()


# --- the end


def test_it_stops_at_once_while_it_watches(begin: Begin) -> None:
    scene = begin()
    scene.follow()
    _stops(scene)


def test_it_stops_at_once_while_a_list_hangs(stub: Stub, begin: Begin) -> None:
    stub.fail_always("LIST", hang)
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: stub.count("LIST") == 1)
    _stops(scene)


def test_it_stops_at_once_while_a_question_for_what_is_missing_hangs(stub: Stub, begin: Begin) -> None:
    stub.put("a", lockName="A")
    scene = begin()
    scene.follow()
    stub.fail_always("GET", hang)
    _gap(stub, scene, "a")
    wait_until(lambda: stub.count("GET") == 1)
    _stops(scene)
    assert scene.names() == ["a"]


@pytest.mark.parametrize("kind", ["DISCOVERY", "WATCH"])
def test_it_stops_at_once_while_kopf_begins(stub: Stub, begin: Begin, kind: str) -> None:
    stub.fail_always(kind, hang)
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: stub.count(kind) >= 1)
    _stops(scene)


def test_it_stops_at_once_while_nobody_answers(stub: Stub, begin: Begin) -> None:
    stub.down()
    scene = begin()
    scene.watcher.start()
    wait_until(lambda: scene.watcher.trouble is not None)
    _stops(scene)


def test_it_stops_at_once_while_a_definition_is_missing_or_a_token_is_refused(stub: Stub, begin: Begin) -> None:
    stub.world.defined = False
    undefined = begin()
    undefined.watcher.start()
    wait_until(lambda: undefined.watcher.trouble is not None)
    _stops(undefined)
    stub.world.defined, stub.world.token = True, "another"
    refused = begin()
    refused.watcher.start()
    wait_until(lambda: refused.watcher.trouble is not None)
    _stops(refused)


def test_it_may_be_stopped_before_it_was_started_and_at_once_after(begin: Begin) -> None:
    assert begin().watcher.stop()
    scene = begin()
    scene.watcher.start()
    _stops(scene)


# --- helpers


def _found(name: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": {"lockName": "LOCK"}}


def _gap(stub: Stub, scene: Scene, name: str) -> None:
    """Have an object vanish while the watch is away, and what it would have been told be forgotten."""
    watches = stub.count("WATCH")
    with stub.world.changed:
        del stub.world.objects["default", name]
        stub.world.epoch += 1
        stub.forget()
    wait_until(lambda: stub.count("WATCH") > watches)


def _stops(scene: Scene) -> None:
    assert scene.watcher.stop(PATIENCE)
    assert not scene.watcher.alive
