"""What one instance knows of the database that it uses."""

from dataclasses import dataclass

from masterjob.election.core.session import LONG_AGO
from masterjob.election.values import Incarnation


@dataclass(slots=True)
class KnownDatabase:
    """The incarnation that was seen last; None until then."""

    incarnation: Incarnation | None = None
    changed_at: float = LONG_AGO
    """When it was first seen. What was sent before may have been executed by another database."""

    confirmed: Incarnation | None = None
    """The incarnation that was last found to have what this instance holds."""

    @property
    def quarantine(self) -> Incarnation | None:
        """The incarnation if nothing may be claimed in it yet."""
        return self.incarnation if self.incarnation is not None and self.incarnation.is_quarantined else None
