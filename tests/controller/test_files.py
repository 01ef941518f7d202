"""Manifests in files and folders: what is told of them while they change. Only the kernel is waited for."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from masterjob.resource.files import Files
from masterjob.resource.resource import Resource
from tests.library.conftest import wait_until


@dataclass
class Told:
    """What the files said, level by level."""

    now: dict[str, Resource] = field(default_factory=dict)

    def apply(self, source: str, resource: Resource) -> None:
        self.now[source] = resource

    def remove(self, source: str) -> None:
        del self.now[source]

    def repeat(self) -> None:
        """Nothing to do."""

    def locks(self) -> dict[str, str]:
        return {source.removeprefix("file:default/"): resource.lock_name for source, resource in self.now.items()}


def manifest(name: str, lock_name: str = "LOCK", more: str = "") -> str:
    return (
        "apiVersion: masterjob.io/v1alpha1\nkind: MasterJob\n"
        f"metadata: {{name: {name}}}\nspec:\n  lockName: {lock_name}\n{more}"
    )


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_folder_is_its_manifests_and_nothing_hidden(told: Told, tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(manifest("b"))
    (tmp_path / "a.json").write_text(
        '{"apiVersion": "masterjob.io/v1alpha1", "kind": "MasterJob", "metadata": {"name": "a"}, '
        '"spec": {"lockName": "LOCK"}}'
    )
    for name in ("notes.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("[")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c.yaml").write_text(manifest("c"))
    Files([tmp_path], told).read()
    assert list(told.locks()) == ["a", "b"]


def test_a_file_may_hold_several_and_one_bad_document_does_not_hurt_the_others(
    told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("\n---\n".join([manifest("a", "A"), manifest("b", "B", "  job: 7\n"), manifest("c", "C")]))
    Files([path], told).read()
    assert told.locks() == {"a": "A", "c": "C"}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} line 13: spec.job: it must be text, not 7 (text that looks like something else needs quotes)"
    ]


def test_a_file_that_becomes_bad_keeps_its_last_good_state_and_says_so_once(
    told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "a.yaml"
    path.write_text(manifest("a"))
    files = Files([path], told)
    files.read()
    path.write_text(manifest("a", "[", ""))
    for _ in range(4):
        files.read(afresh=True)
    assert told.locks() == {"a": "LOCK"}
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("what was read of it before stays in effect")
    path.write_text(manifest("a", "OTHER"))
    files.read()
    assert told.locks() == {"a": "OTHER"}
    assert caplog.records[-1].getMessage() == f"{path} is good again"


def test_what_two_passes_miss_is_gone(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(manifest("a"))
    files = Files([tmp_path], told)
    files.read()
    path.unlink()
    files.read()
    assert files.unsure
    assert told.locks() == {"a": "LOCK"}
    files.read()
    assert told.locks() == {}


def test_a_file_that_is_replaced_by_way_of_none_was_never_gone(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(manifest("a"))
    files = Files([path], told)
    files.read()
    path.write_text("")  # an editor that empties a file before it writes it
    files.read()
    path.write_text(manifest("a", more="  enabled: false\n"))
    files.read()
    assert not told.now["file:default/a"].enabled
    assert not files.unsure


def test_a_document_that_leaves_its_file_is_gone_and_one_that_moves_is_not(told: Told, tmp_path: Path) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(manifest("a", "A") + "---\n" + manifest("b", "B"))
    files = Files([tmp_path], told)
    files.read()
    one.write_text(manifest("c", "C"))
    two.write_text(manifest("b", "B"))
    for _ in range(2):
        files.read()
    assert told.locks() == {"b": "B", "c": "C"}


def test_the_second_of_one_name_is_refused(told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.yaml", "2.yaml"):
        (tmp_path / name).write_text(manifest("a", name))
    Files([tmp_path], told).read()
    assert told.locks() == {"a": "1.yaml"}
    assert "2.yaml line 1: MasterJob default/a is in" in caplog.text


@dataclass
class Following:
    """Files that are followed by a thread."""

    told: Told
    folder: Path

    def wait_for(self, locks: dict[str, str]) -> None:
        wait_until(lambda: self.told.locks() == locks)


@pytest.fixture
def following(told: Told, tmp_path: Path) -> Iterator[Following]:
    stop = threading.Event()
    folder = tmp_path / "manifests"
    thread = threading.Thread(target=Files([folder], told).follow, args=(stop,))
    thread.start()
    yield Following(told, folder)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_folder_that_appears_later_is_followed(following: Following) -> None:
    following.folder.mkdir()
    path = following.folder / "a.yaml"
    path.write_text(manifest("a", "A"))
    following.wait_for({"a": "A"})
    path.write_text(manifest("a", "B"))
    following.wait_for({"a": "B"})
    path.unlink()
    following.wait_for({})


def test_an_editors_rename_is_followed(following: Following) -> None:
    following.folder.mkdir()
    path, new = following.folder / "a.yaml", following.folder / ".a.yaml.swp"
    for lock_name in ("A", "B", "C"):
        new.write_text(manifest("a", lock_name))
        new.rename(path)
        following.wait_for({"a": lock_name})


def test_the_swap_of_a_mounted_config_map_is_followed(following: Following) -> None:
    folder = following.folder
    folder.mkdir()
    for number, lock_name in enumerate(("A", "B")):
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "a.yaml").write_text(manifest("a", lock_name))
    (folder / "..data").symlink_to("..0")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    following.wait_for({"a": "A"})
    (folder / "..new").symlink_to("..1")
    (folder / "..new").rename(folder / "..data")
    following.wait_for({"a": "B"})
