"""Manifests in files and folders, and the watcher that follows their changes.

Each scan reads the current state of all files and passes all of it on (`apply`, `remove`), so a lost notification
costs a second and nothing else. An error is logged once, and the last valid state of its file stays in effect:
nothing of a file with an error is removed. A resource counts as removed after two scans in a row do not find it,
because an editor may delete a file before it writes the new one.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import watchfiles

from masterjob.concurrency.clock import clock
from masterjob.config.documents import read_documents
from masterjob.errors import SettingError
from masterjob.resource.manifest import parse_manifest
from masterjob.resource.masterjob import Resource, ResourceSink

logger = logging.getLogger("masterjob")

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
REMOVAL_CONFIRM_DELAY = 0.5
"""Seconds between the two scans that must miss a resource."""

_POLL_INTERVAL_MS = 1000
_RESYNC_INTERVAL = 300.0

FileSignature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The content of a file: its valid resources, by source, and its errors."""

    resources: tuple[tuple[str, Resource], ...]
    errors: tuple[str, ...]


def list_manifests(path: Path, exclude: Path | None = None) -> list[Path]:
    """Return the file itself, or the manifests directly in a folder, without ``exclude``; [] if neither exists."""
    if not path.is_dir():
        return [path] if path.exists() else []
    entries = [
        each for each in path.iterdir() if each.suffix in MANIFEST_SUFFIXES and not each.name.startswith(".")
    ]
    files = [
        each
        for each in entries
        if each.is_file() and not (exclude and exclude.exists() and each.samefile(exclude))
    ]
    return sorted(files)


def parse_file(file: Path) -> ParsedFile:
    """Read a file; an invalid document does not affect the others."""
    resources, errors = [], []
    for document in read_documents(file):
        try:
            if isinstance(document, SettingError):
                raise document
            resource = parse_manifest(document.data, document.locate)
        except SettingError as error:
            errors.append(str(error))
        else:
            resources.append((f"file:{resource.key}", resource))
    return ParsedFile(tuple(resources), tuple(errors))


class ManifestWatcher:
    """Reads the manifests in ``paths`` whenever they change, and passes them to ``sink``.

    ``exclude``: a file that is not a manifest though it may be in one of the folders: the config file.
    """

    def __init__(self, paths: Sequence[Path], sink: ResourceSink, exclude: Path | None = None) -> None:
        self._paths = list(paths)
        self._exclude = exclude
        self._sink = sink
        self._parsed_files: dict[Path, tuple[FileSignature, ParsedFile]] = {}
        self._unreadable: dict[Path, list[str]] = {}
        self._file_by_source: dict[str, Path] = {}
        self._missing_once: set[str] = set()
        self._reported_errors: dict[Path, tuple[str, ...]] = {}

    @property
    def has_pending_removals(self) -> bool:
        """Whether the last scan missed a resource for the first time, so that another scan is needed."""
        return bool(self._missing_once)

    def scan(self, *, force: bool = False) -> bool:
        """Read the changed files; return whether there were any. ``force`` reads all files."""
        parsed_files, unreadable = self._parse_all(force)
        if (parsed_files, unreadable) == (self._parsed_files, self._unreadable) and not (
            force or self._missing_once
        ):
            return False
        self._parsed_files, self._unreadable = parsed_files, unreadable
        known_files = set(self._file_by_source.values())
        errors = {file: list(content.errors) for file, (_, content) in parsed_files.items()} | unreadable
        found = self._collect_resources(errors)
        self._remove_missing(found, {file for file, words in errors.items() if words})
        for source, (file, resource) in found.items():
            self._file_by_source[source] = file
            self._sink.apply(source, resource)
        self._log_errors(errors, known_files)
        return True

    def watch(self, stop: threading.Event) -> None:
        """Scan after every change until ``stop`` is set."""
        resync_at = clock() + _RESYNC_INTERVAL
        while not stop.is_set():
            for notified in self._iter_changes(stop):
                force = clock() >= resync_at
                changed = self.scan(force=force)
                while self.has_pending_removals and not stop.wait(REMOVAL_CONFIRM_DELAY):
                    self.scan()
                if force:
                    self._sink.resync()
                    resync_at = clock() + _RESYNC_INTERVAL
                if changed and not notified:
                    break  # without a notification: the folder may have been replaced

    def _iter_changes(self, stop: threading.Event) -> Iterator[bool]:
        """Yield at least once a second whether the kernel reported a change."""
        try:
            for changes in watchfiles.watch(
                *self._watched_folders(),
                watch_filter=None,
                debounce=500,
                step=50,
                stop_event=stop,
                rust_timeout=_POLL_INTERVAL_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                recursive=False,
            ):
                yield bool(changes)
        except (OSError, RuntimeError) as error:  # a folder has vanished, or the kernel has no watch left
            logger.debug("the kernel cannot watch the folders; scanning once a second: %s", error)
            stop.wait(_POLL_INTERVAL_MS / 1000)
            yield False

    def _watched_folders(self) -> set[Path]:
        return {next(each for each in (path, *path.absolute().parents) if each.is_dir()) for path in self._paths}

    # --- one scan

    def _parse_all(
        self, force: bool
    ) -> tuple[dict[Path, tuple[FileSignature, ParsedFile]], dict[Path, list[str]]]:
        """Return the content of each file, and the paths that cannot be read, with the reason."""
        parsed_files: dict[Path, tuple[FileSignature, ParsedFile]] = {}
        unreadable: dict[Path, list[str]] = {}
        for path in self._paths:
            try:
                for file in list_manifests(path, self._exclude):
                    with contextlib.suppress(FileNotFoundError):  # it has vanished meanwhile
                        parsed_files[file] = self._parse_if_changed(file, force)
            except OSError as error:
                unreadable[path] = [f"{path} cannot be read: {error.strerror}"]
        return parsed_files, unreadable

    def _parse_if_changed(self, file: Path, force: bool) -> tuple[FileSignature, ParsedFile]:
        file_stat = file.stat()
        signature = (file_stat.st_mtime_ns, file_stat.st_size, file_stat.st_ino)
        cached = self._parsed_files.get(file)
        if cached is not None and cached[0] == signature and not force:
            return cached
        return signature, parse_file(file)

    def _collect_resources(self, errors: dict[Path, list[str]]) -> dict[str, tuple[Path, Resource]]:
        """Return the resources by source; a second one of the same name is an error."""
        found: dict[str, tuple[Path, Resource]] = {}
        for file, (_, parsed) in self._parsed_files.items():
            for source, resource in parsed.resources:
                if source in found:
                    other = found[source][1].locate(())
                    errors[file].append(
                        f"{resource.locate(())}: {resource.display_name} is already defined in {other}"
                    )
                else:
                    found[source] = file, resource
        return found

    def _remove_missing(self, found: dict[str, tuple[Path, Resource]], bad_files: set[Path]) -> None:
        """Remove the resources that two scans missed, unless their file or its folder is in ``bad_files``."""
        missing = {source for source, file in self._file_by_source.items() if source not in found}
        missing = {
            source
            for source in missing
            if bad_files.isdisjoint((self._file_by_source[source], *self._file_by_source[source].parents))
        }
        for source in sorted(missing & self._missing_once):
            del self._file_by_source[source]
            self._sink.remove(source)
        self._missing_once = missing - self._missing_once

    def _log_errors(self, errors: dict[Path, list[str]], known_files: set[Path]) -> None:
        current_errors = {file: tuple(words) for file, words in errors.items() if words}
        for file, words in current_errors.items():
            suffix = "; the last valid version stays in effect" if file in known_files else ""
            for message in words:
                if message not in self._reported_errors.get(file, ()):
                    logger.warning("%s%s", message, suffix)
        for file in self._reported_errors.keys() - current_errors.keys():
            logger.info("%s is valid again", file) if file in errors else None
        self._reported_errors = current_errors
