"""What a command job runs, and the launch request that the shim gets.

The command's environment is the controller's, plus the configured variables, plus:

    MASTERJOB_LOCK_NAME     the lock
    MASTERJOB_TERM          the number of the term, the fencing token
    MASTERJOB_LEASE_ENDS    seconds, counted from the command's start, for which it was certain to be the master.
                            Every heartbeat extends this time, and the command is stopped when it is over.
    MASTERJOB_EXECUTION     what its processes are found by; see `leftovers.py`
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from masterjob.election.term import LiveTerm
from masterjob.jobs.exec.execution_id import VARIABLE
from masterjob.jobs.exec.output import DEFAULT_LEVELS, OutputLevels
from masterjob.jobs.exec.shim import LaunchRequest

TERM_VARIABLES = ("MASTERJOB_LOCK_NAME", "MASTERJOB_TERM", "MASTERJOB_LEASE_ENDS")
RESERVED_VARIABLES = (*TERM_VARIABLES, VARIABLE)


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """A command. It runs without a shell, unless ``argv`` names one."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    directory: str | None = None
    output_levels: OutputLevels = DEFAULT_LEVELS

    def launch_request(self, term: LiveTerm, now: float, trust_left: float, grace_period: float) -> LaunchRequest:
        """Return the request to run it for ``trust_left`` seconds from ``now`` on, the trust known so far."""
        term_values = (term.lock_name, str(term.number), f"{trust_left:.3f}")
        environment = {**os.environ, **self.environment, **dict(zip(TERM_VARIABLES, term_values, strict=True))}
        return LaunchRequest(
            tuple(map(os.fsencode, self.argv)),
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            None if self.directory is None else os.fsencode(self.directory),
            grace_period,
            now + trust_left,
            os.getpid(),
        )
