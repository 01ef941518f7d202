"""The servers that `tests/servers/unpack` has unpacked from newer releases of Debian."""

from pathlib import Path

from tests.servers.process import Unavailable

CACHE = Path("/var/cache/masterjob/servers")


class NotUnpacked(Unavailable):
    """This server is optional: where its packages cannot be downloaded, its tests are skipped."""


def unpacked(name: str) -> Path:
    """Return the folder that a server was unpacked into."""
    folder = CACHE / name
    if not folder.is_dir():
        raise NotUnpacked(f"it is not in {CACHE}; `make databases` unpacks it, as root on Debian")
    return folder
