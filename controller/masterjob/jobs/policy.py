"""What a job's definition says about the life of its runs.

    nightly: {exec: {command: [make, report], restart: onFailure, once: true, startSeconds: 10}}

A command is restarted by default when it exits with 0: a scheduler that gets SIGTERM from somewhere does that, and
its work is not done. A ``run`` function gets no signal. It returns only because its author wrote so, when its work
is done: so its default is ``onFailure``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from masterjob.config.fields import Field, boolean, format_value, one_of
from masterjob.job_status import START_SECONDS

POLICY_FIELDS = ("restart", "once", "startSeconds")

_MIN_START_SECONDS, _MAX_START_SECONDS = 0.1, 3600.0


class Restart(StrEnum):
    """What follows when a command exits, or a ``run`` function returns."""

    ALWAYS = "always"
    ON_FAILURE = "onFailure"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """The life of a job's runs. ``once``: after it has completed, the lock is disabled until people enable it."""

    restart: Restart = Restart.ALWAYS
    once: bool = False
    start_seconds: float = START_SECONDS

    @property
    def keeps_lock_after_failure(self) -> bool:
        """Whether the lock stays with this instance when a command, or a ``run`` function, has failed."""
        return self.restart is Restart.NEVER


DEFAULT_POLICY = RunPolicy()


@dataclass(frozen=True, slots=True)
class GivenPolicy:
    """The fields of a policy that a definition has; None if it does not have them."""

    restart: Restart | None = None
    once: bool | None = None
    start_seconds: float | None = None

    def resolve(self, default: Restart) -> RunPolicy:
        """Return the policy, with ``default`` for a restart that is not given."""
        restart = self.restart or (Restart.ON_FAILURE if self.once else default)
        seconds = START_SECONDS if self.start_seconds is None else self.start_seconds
        return RunPolicy(restart, bool(self.once), seconds)


NO_POLICY = GivenPolicy()


def parse_policy(field: Field) -> RunPolicy:
    """Return the policy of a command.

    Raises:
        SettingError: a field is not valid.
    """
    return parse_given_policy(field).resolve(Restart.ALWAYS)


def parse_given_policy(field: Field) -> GivenPolicy:
    """Return what a definition says about its policy.

    Raises:
        SettingError: a field is not valid.
    """
    given = GivenPolicy(
        restart=field["restart"].optional(one_of(Restart), None),
        once=field["once"].optional(boolean, None),
        start_seconds=field["startSeconds"].optional(_parse_start_seconds, None),
    )
    if given.once and given.restart not in (None, Restart.ON_FAILURE):
        raise field["restart"].error(f"must be {Restart.ON_FAILURE} if once is true, not {given.restart}")
    return given


def refuse_fields(field: Field, reasons: Mapping[str, str]) -> None:
    """Raise for the first of these fields that a definition has, although it has no meaning there.

    Raises:
        SettingError: a field is there; the message has its reason.
    """
    entries = field.entries()
    for name, reason in reasons.items():
        if name in entries:
            raise entries[name].error(reason)


def _parse_start_seconds(field: Field) -> float:
    value = field.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_start_time(value):
        bounds = f"from {_MIN_START_SECONDS:g} to {_MAX_START_SECONDS:g}"
        raise field.error(f"must be a number of seconds {bounds}, not {format_value(value)}")
    return float(value)


def _is_start_time(seconds: float) -> bool:
    return _MIN_START_SECONDS <= seconds <= _MAX_START_SECONDS
