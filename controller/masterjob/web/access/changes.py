"""Whether files have changed since they were read; what is mounted into a pod is renewed while it runs."""

from pathlib import Path


def file_fingerprint(path: Path) -> tuple[int, ...] | None:
    """Return what changes whenever the file does, or a link to it is pointed elsewhere, as of mounted secrets."""
    try:
        stat_result = path.stat()
    except OSError:
        return None
    return stat_result.st_mtime_ns, stat_result.st_size, stat_result.st_ino, stat_result.st_dev
