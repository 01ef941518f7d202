"""Manifests in files and folders, followed while they change.

Every pass takes in the whole truth and tells all of it (`apply`, `remove`), so that a lost hint costs a second
and nothing else. What is bad is told once and keeps its last good state: of a file with an error nothing is
removed. A resource counts as gone when two passes in a row do not find it, since editors replace files by way of
none.

What must not be here: what is done with a resource.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import watchfiles

from masterjob.documents import read_all
from masterjob.election.clock import clock
from masterjob.election.errors import SettingError
from masterjob.resource.manifest import parse
from masterjob.resource.resource import Follower, Resource

logger = logging.getLogger("masterjob")

SUFFIXES = (".yaml", ".yml", ".json")
GONE_AFTER = 0.5
"""Seconds between the two passes that have to miss a resource."""

_GLANCE_MS = 1000
_REPEAT = 300.0

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Content:
    """What a file says: its good documents, by source, and its errors in words."""

    resources: tuple[tuple[str, Resource], ...]
    errors: tuple[str, ...]


def manifests(path: Path, besides: Path | None = None) -> list[Path]:
    """Return the file, or of a folder the manifests right in it, ``besides`` one; nothing where nothing is."""
    if not path.is_dir():
        return [path] if path.exists() else []
    inside = [each for each in path.iterdir() if each.suffix in SUFFIXES and not each.name.startswith(".")]
    mine = [
        each for each in inside if each.is_file() and not (besides and besides.exists() and each.samefile(besides))
    ]
    return sorted(mine)


def content_of(file: Path) -> Content:
    """Return what a file says; one bad document does not hurt the others."""
    resources, errors = [], []
    for document in read_all(file):
        try:
            if isinstance(document, SettingError):
                raise document
            resource = parse(document.data(), document.where)
        except SettingError as error:
            errors.append(str(error))
        else:
            resources.append((f"file:{resource.key}", resource))
    return Content(tuple(resources), tuple(errors))


class Files:
    """Reads what ``paths`` hold, as often as it changes, and tells ``follower``.

    ``besides`` is no manifest though it may stand in one of the folders: the config file.
    """

    def __init__(self, paths: Sequence[Path], follower: Follower, besides: Path | None = None) -> None:
        self._paths = list(paths)
        self._besides = besides
        self._follower = follower
        self._contents: dict[Path, tuple[Signature, Content]] = {}
        self._unread: dict[Path, list[str]] = {}
        self._known: dict[str, Path] = {}
        self._missing: set[str] = set()
        self._told: dict[Path, tuple[str, ...]] = {}

    @property
    def unsure(self) -> bool:
        """Whether something was missing for the first time, so that another pass is needed."""
        return bool(self._missing)

    def read(self, *, afresh: bool = False) -> bool:
        """Make one pass; return whether anything had changed. ``afresh`` reads also what seems unchanged."""
        contents, unread = self._look(afresh)
        if (contents, unread) == (self._contents, self._unread) and not (afresh or self._missing):
            return False
        self._contents, self._unread = contents, unread
        before = set(self._known.values())
        errors = {file: list(content.errors) for file, (_, content) in contents.items()} | unread
        found = self._found(errors)
        self._remove(found, {file for file, words in errors.items() if words})
        for source, (file, resource) in found.items():
            self._known[source] = file
            self._follower.apply(source, resource)
        self._tell(errors, before)
        return True

    def follow(self, stop: threading.Event) -> None:
        """Make a pass whenever something changes, until ``stop`` is set."""
        repeat_at = clock() + _REPEAT
        while not stop.is_set():
            for hints in self._hints(stop):
                afresh = clock() >= repeat_at
                changed = self.read(afresh=afresh)
                while self.unsure and not stop.wait(GONE_AFTER):
                    self.read()
                if afresh:
                    self._follower.repeat()
                    repeat_at = clock() + _REPEAT
                if changed and not hints:
                    break  # no hint came for this: the folder is perhaps another one by now

    def _hints(self, stop: threading.Event) -> Iterator[bool]:
        """Say whether the kernel told of a change, once a second at least."""
        try:
            for changes in watchfiles.watch(
                *self._folders(),
                watch_filter=None,
                debounce=500,
                step=50,
                stop_event=stop,
                rust_timeout=_GLANCE_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                recursive=False,
            ):
                yield bool(changes)
        except (OSError, RuntimeError) as error:  # a folder just vanished, or the kernel watches enough already
            logger.debug("changes are looked for once a second: %s", error)
            stop.wait(_GLANCE_MS / 1000)
            yield False

    def _folders(self) -> set[Path]:
        return {next(each for each in (path, *path.absolute().parents) if each.is_dir()) for path in self._paths}

    # --- one pass

    def _look(self, afresh: bool) -> tuple[dict[Path, tuple[Signature, Content]], dict[Path, list[str]]]:
        """Return what each file says, and the paths that cannot be looked into, with the reason."""
        contents: dict[Path, tuple[Signature, Content]] = {}
        unread: dict[Path, list[str]] = {}
        for path in self._paths:
            try:
                for file in manifests(path, self._besides):
                    with contextlib.suppress(FileNotFoundError):  # it vanished meanwhile
                        contents[file] = self._content(file, afresh)
            except OSError as error:
                unread[path] = [f"{path} cannot be read: {error.strerror}"]
        return contents, unread

    def _content(self, file: Path, afresh: bool) -> tuple[Signature, Content]:
        status = file.stat()
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        before = self._contents.get(file)
        if before is not None and before[0] == signature and not afresh:
            return before
        return signature, content_of(file)

    def _found(self, errors: dict[Path, list[str]]) -> dict[str, tuple[Path, Resource]]:
        """Return the resources by source; the second of the same name is an error."""
        found: dict[str, tuple[Path, Resource]] = {}
        for file, (_, content) in self._contents.items():
            for source, resource in content.resources:
                if source in found:
                    other = found[source][1].where(())
                    errors[file].append(f"{resource.where(())}: MasterJob {resource.key} is in {other} already")
                else:
                    found[source] = file, resource
        return found

    def _remove(self, found: dict[str, tuple[Path, Resource]], bad: set[Path]) -> None:
        """Remove what two passes have missed; of a bad file, or one in a folder that cannot be read, nothing."""
        lost = {source for source, file in self._known.items() if source not in found}
        lost = {source for source in lost if bad.isdisjoint((self._known[source], *self._known[source].parents))}
        for source in sorted(lost & self._missing):
            del self._known[source]
            self._follower.remove(source)
        self._missing = lost - self._missing

    def _tell(self, errors: dict[Path, list[str]], known: set[Path]) -> None:
        now = {file: tuple(words) for file, words in errors.items() if words}
        for file, words in now.items():
            stays = "; what was read of it before stays in effect" if file in known else ""
            for each in words:
                if each not in self._told.get(file, ()):
                    logger.warning("%s%s", each, stays)
        for file in self._told.keys() - now.keys():
            logger.info("%s is good again", file) if file in errors else None
        self._told = now
