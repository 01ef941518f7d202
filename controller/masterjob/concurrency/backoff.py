"""How long to wait before the next attempt."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow by ``factor`` from ``initial`` to ``maximum`` seconds."""

    initial: float
    maximum: float
    factor: float = 2.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait; ``failures`` counts the failed attempts before the last one."""
        return float(min(self.maximum, self.initial * self.factor ** min(failures, 60)))
