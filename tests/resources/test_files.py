"""Manifests in files and folders, and what the sink gets while they change."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masterjob.resource.files import ManifestWatcher
from masterjob.resource.masterjob import Resource
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT


@dataclass
class RecordingSink:
    """A sink that keeps the current resources."""

    resources: dict[str, Resource] = field(default_factory=dict)

    def apply(self, source: str, resource: Resource) -> None:
        self.resources[source] = resource

    def remove(self, source: str) -> None:
        del self.resources[source]

    def resync(self) -> None:
        """Nothing to do."""

    def lock_names(self) -> dict[str, str]:
        return {
            source.removeprefix("file:default/"): resource.lock_name for source, resource in self.resources.items()
        }


def manifest(name: str, lock_name: str = "LOCK", more: str = "") -> str:
    return (
        "apiVersion: masterjob.io/v1alpha1\nkind: MasterJob\n"
        f"metadata: {{name: {name}}}\nspec:\n  lockName: {lock_name}\n{more}"
    )


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


def test_a_folder_is_its_manifests_and_nothing_hidden(sink: RecordingSink, tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(manifest("b"))
    (tmp_path / "a.json").write_text(
        '{"apiVersion": "masterjob.io/v1alpha1", "kind": "MasterJob", "metadata": {"name": "a"}, '
        '"spec": {"lockName": "LOCK"}}'
    )
    for name in ("notes.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("[")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c.yaml").write_text(manifest("c"))
    ManifestWatcher([tmp_path], sink).scan()
    assert list(sink.lock_names()) == ["a", "b"]


def test_a_file_may_hold_several_and_an_invalid_one_does_not_affect_the_others(
    sink: RecordingSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("\n---\n".join([manifest("a", "A"), manifest("b", "B", "  job: 7\n"), manifest("c", "C")]))
    ManifestWatcher([path], sink).scan()
    assert sink.lock_names() == {"a": "A", "c": "C"}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} line 13: spec.job must be text, not a number: put it in quotes"
    ]


def test_a_file_that_becomes_invalid_keeps_its_last_valid_state_and_is_logged_once(
    sink: RecordingSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "a.yaml"
    path.write_text(manifest("a"))
    watcher = ManifestWatcher([path], sink)
    watcher.scan()
    path.write_text(manifest("a", "[", ""))
    for _ in range(4):
        watcher.scan(force=True)
    assert sink.lock_names() == {"a": "LOCK"}
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("the last valid version stays in effect")
    path.write_text(manifest("a", "OTHER"))
    watcher.scan()
    assert sink.lock_names() == {"a": "OTHER"}
    assert caplog.records[-1].getMessage() == f"{path} is valid again"


def test_a_resource_that_two_scans_miss_is_removed(sink: RecordingSink, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(manifest("a"))
    watcher = ManifestWatcher([tmp_path], sink)
    watcher.scan()
    path.unlink()
    watcher.scan()
    assert watcher.has_pending_removals
    assert sink.lock_names() == {"a": "LOCK"}
    watcher.scan()
    assert sink.lock_names() == {}


def test_a_file_that_is_emptied_and_written_again_is_not_removed(sink: RecordingSink, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(manifest("a"))
    watcher = ManifestWatcher([path], sink)
    watcher.scan()
    path.write_text("")  # an editor that empties a file before it writes it
    watcher.scan()
    path.write_text(manifest("a", more="  enabled: false\n"))
    watcher.scan()
    assert not sink.resources["file:default/a"].enabled
    assert not watcher.has_pending_removals


def test_a_document_that_leaves_its_file_is_removed_and_one_that_moves_is_not(
    sink: RecordingSink, tmp_path: Path
) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(manifest("a", "A") + "---\n" + manifest("b", "B"))
    watcher = ManifestWatcher([tmp_path], sink)
    watcher.scan()
    one.write_text(manifest("c", "C"))
    two.write_text(manifest("b", "B"))
    for _ in range(2):
        watcher.scan()
    assert sink.lock_names() == {"b": "B", "c": "C"}


def test_a_second_resource_of_the_same_name_is_refused(
    sink: RecordingSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.yaml", "2.yaml"):
        (tmp_path / name).write_text(manifest("a", name))
    ManifestWatcher([tmp_path], sink).scan()
    assert sink.lock_names() == {"a": "1.yaml"}
    assert "2.yaml line 1: MasterJob default/a is already defined in" in caplog.text


@dataclass
class RunningWatcher:
    """A watcher on a thread of its own."""

    sink: RecordingSink
    folder: Path

    def wait_for(self, lock_names: dict[str, str]) -> None:
        wait_until(lambda: self.sink.lock_names() == lock_names)


@pytest.fixture
def running_watcher(sink: RecordingSink, tmp_path: Path) -> Iterator[RunningWatcher]:
    stop = threading.Event()
    folder = tmp_path / "manifests"
    thread = threading.Thread(target=ManifestWatcher([folder], sink).watch, args=(stop,))
    thread.start()
    yield RunningWatcher(sink, folder)
    stop.set()
    thread.join(WAIT_TIMEOUT)
    assert not thread.is_alive()


def test_a_folder_that_appears_later_is_followed(running_watcher: RunningWatcher) -> None:
    running_watcher.folder.mkdir()
    path = running_watcher.folder / "a.yaml"
    path.write_text(manifest("a", "A"))
    running_watcher.wait_for({"a": "A"})
    path.write_text(manifest("a", "B"))
    running_watcher.wait_for({"a": "B"})
    path.unlink()
    running_watcher.wait_for({})


def test_an_editors_rename_is_followed(running_watcher: RunningWatcher) -> None:
    running_watcher.folder.mkdir()
    path, new = running_watcher.folder / "a.yaml", running_watcher.folder / ".a.yaml.swp"
    for lock_name in ("A", "B", "C"):
        new.write_text(manifest("a", lock_name))
        new.rename(path)
        running_watcher.wait_for({"a": lock_name})


def test_the_swap_of_a_mounted_config_map_is_followed(running_watcher: RunningWatcher) -> None:
    folder = running_watcher.folder
    folder.mkdir()
    for number, lock_name in enumerate(("A", "B")):
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "a.yaml").write_text(manifest("a", lock_name))
    (folder / "..data").symlink_to("..0")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    running_watcher.wait_for({"a": "A"})
    (folder / "..new").symlink_to("..1")
    (folder / "..new").rename(folder / "..data")
    running_watcher.wait_for({"a": "B"})
