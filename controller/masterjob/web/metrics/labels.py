"""Names as labels of metrics: as many as are bounded, and one word for all further ones."""

import threading

DEFAULT_MAX_LABELS = 1_000
OTHER_LABEL = "other"


class BoundedLabels:
    """The first ``max_labels`` names that are asked for keep their own label; each further one counts as
    `OTHER_LABEL`.
    """

    def __init__(self, max_labels: int = DEFAULT_MAX_LABELS) -> None:
        self._max_labels = max_labels
        self._known_names: set[str] = set()
        self._lock = threading.Lock()

    def label_for(self, name: str) -> str:
        """Return the label of a name."""
        with self._lock:
            if name not in self._known_names and len(self._known_names) < self._max_labels:
                self._known_names.add(name)
            return name if name in self._known_names else OTHER_LABEL
