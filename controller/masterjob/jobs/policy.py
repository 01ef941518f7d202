"""What a job's definition says about the life of its runs.

nightly: {exec: {command: [make, report], restart: onFailure, once: true, startSeconds: 10}}
"""

from dataclasses import dataclass
from enum import StrEnum

from masterjob.config.fields import Field, boolean, format_value, one_of
from masterjob.job_status import START_SECONDS

POLICY_FIELDS = ("restart", "once", "startSeconds")

_MIN_START_SECONDS, _MAX_START_SECONDS = 0.1, 3600.0


class Restart(StrEnum):
    """What follows when a command exits."""

    ALWAYS = "always"
    ON_FAILURE = "onFailure"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """The life of a job's runs. ``once``: after it has completed, the lock is disabled until people enable it."""

    restart: Restart = Restart.ALWAYS
    once: bool = False
    start_seconds: float = START_SECONDS

    def keeps_lock_after(self, exit_code: int) -> bool:
        """Return whether the lock stays with this instance when a command exits."""
        return exit_code == 0 or self.restart is Restart.NEVER


DEFAULT_POLICY = RunPolicy()


def parse_policy(field: Field) -> RunPolicy:
    """Return the policy of a command.

    Raises:
        SettingError: a field is not valid.
    """
    once = field["once"].optional(boolean, False)
    default = Restart.ON_FAILURE if once else Restart.ALWAYS
    restart = field["restart"].optional(one_of(Restart), default)
    if once and restart is not Restart.ON_FAILURE:
        raise field["restart"].error(f"must be {Restart.ON_FAILURE} if once is true, not {restart}")
    return RunPolicy(restart, once, field["startSeconds"].optional(parse_start_seconds, START_SECONDS))


def parse_start_seconds(field: Field) -> float:
    """Return for how many seconds a job must live to count as running."""
    value = field.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_start_time(value):
        bounds = f"from {_MIN_START_SECONDS:g} to {_MAX_START_SECONDS:g}"
        raise field.error(f"must be a number of seconds {bounds}, not {format_value(value)}")
    return float(value)


def _is_start_time(seconds: float) -> bool:
    return _MIN_START_SECONDS <= seconds <= _MAX_START_SECONDS
