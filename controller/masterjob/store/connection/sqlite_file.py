"""The files of an SQLite database: the change to WAL, and whether they are still those that were opened."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

FileId = tuple[int, int] | None

_RETRY_DELAY = 0.01
_MAPPINGS = Path("/proc/self/maps")


def enable_wal(connection: Connection, timeout: float) -> None:
    """Change the file to WAL if it is not, and wait for other writers for ``timeout`` seconds.

    SQLite's own timeout does not cover the change: it fails at once while another process creates the tables.
    """
    deadline = monotonic() + timeout
    while connection.execute(text("PRAGMA journal_mode")).scalar() != "wal":
        try:
            connection.execute(text("PRAGMA journal_mode = WAL"))
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or monotonic() >= deadline:
                raise
            sleep(_RETRY_DELAY)
        else:
            break
    # The -wal and the -shm of a new file are created by its first read: now, so that they count as opened.
    connection.execute(text("PRAGMA schema_version")).scalar()


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """The database's file, its write-ahead log (``-wal``) and the log's index (``-shm``) when they were opened.

    Instances that use different ones do not see each other's writes, and each group has its own master.
    """

    path: str
    real_path: str
    ids: tuple[FileId, FileId, FileId]

    @classmethod
    def at(cls, path: str) -> Self:
        """Return those at ``path``, which a connection of this process has just opened."""
        real_path = os.path.realpath(path)  # SQLite puts the other two beside the file that a link points to
        return cls(path, real_path, _ids(path, real_path))

    def check(self) -> None:
        """Check that these files are still at their paths.

        Raises:
            OSError: one of them was deleted or replaced.
        """
        if _ids(self.path, self.real_path) != self.ids:
            raise OSError("the database's file, or its -wal or -shm, was deleted or replaced while it was open")

    def check_index(self) -> None:
        """Check that this process does not use an index that was deleted.

        All connections of a process share one index. So a new one gets the deleted one as long as another is open.

        Raises:
            OSError: it does.
        """
        index = f"{self.real_path}-shm"
        mapped = {line.rstrip().partition("/")[2] for line in _read_mappings() if index in line}
        if f"{index} (deleted)"[1:] in mapped and index[1:] not in mapped:
            raise OSError("the database's -shm was deleted, and another connection of this process still uses it")


def _read_mappings() -> list[str]:
    try:
        return _MAPPINGS.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not on Linux
        return []


def _ids(path: str, real_path: str) -> tuple[FileId, FileId, FileId]:
    return _id(path), _id(f"{real_path}-wal"), _id(f"{real_path}-shm")


def _id(path: str) -> FileId:
    try:
        file_stat = os.stat(path)  # noqa: PTH116 - runs before every call, and pathlib is slower
    except OSError:
        return None
    return file_stat.st_dev, file_stat.st_ino
