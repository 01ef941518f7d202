"""What a command job runs, and the order of it that a keeper is given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from masterjob.election.term import LiveTerm
from masterjob.jobs.command.keeper import Order

OWN_VARIABLES = ("MASTERJOB_LOCK_NAME", "MASTERJOB_TERM", "MASTERJOB_LEASE_ENDS")


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: no shell is involved, unless ``argv`` names one."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    directory: str | None = None

    def order(self, term: LiveTerm, now: float, trust: float, patience: float) -> Order:
        """Return the order to run it while the trust lasts: for ``trust`` seconds from ``now`` on, as it seems."""
        own = (term.lock_name, str(term.number), f"{trust:.3f}")
        environment = {**os.environ, **self.environment, **dict(zip(OWN_VARIABLES, own, strict=True))}
        return Order(
            tuple(map(os.fsencode, self.argv)),
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            None if self.directory is None else os.fsencode(self.directory),
            patience,
            now + trust,
            os.getpid(),
        )
