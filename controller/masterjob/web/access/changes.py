"""Whether files have changed since they were read; what is mounted into a pod is renewed while it runs."""

from pathlib import Path


def mark(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever the file does, or a link to it is pointed elsewhere, as of mounted secrets."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
