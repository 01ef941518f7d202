"""Names as labels of metrics: as many as are bounded, and one word for all further ones."""

import threading

MOST = 1_000
OTHER = "other"


class Labels:
    """The first ``most`` names that are asked for keep their own label; each further one counts as `OTHER`."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def of(self, name: str) -> str:
        """Return the label of a name."""
        with self._lock:
            if name not in self._known and len(self._known) < self._most:
                self._known.add(name)
            return name if name in self._known else OTHER
