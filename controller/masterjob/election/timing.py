"""Durations, and the one inequality between them (design 3.4).

All durations inside the package are seconds as ``float``; text and milliseconds exist only at the surfaces.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from masterjob.errors import SettingError, TimingError

CLOCK_DRIFT = 0.02
"""Share of the lease that is kept back for clocks that do not run at the same speed."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_DURATION_PATTERN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_SECONDS_PER_DAY = 86_400.0
_MAX_TEXT_LENGTH = 64
_FORMAT_HINT = "write it like 500ms, 30s or 1m30s"


def parse_duration(value: object) -> float:
    """Return ``value`` in seconds.

    Text is one or more numbers with a unit (``500ms``, ``30s``, ``1m30s``); a bare number, or text that is
    only a number, is milliseconds, as it was in the Node module.

    Raises:
        SettingError: it is none of these, negative, or not finite.

    Source: design section 5.

    """
    match value:
        case timedelta():
            seconds = value.total_seconds()
        case str():
            seconds = _parse_text(value.strip())
        case int() | float() if not isinstance(value, bool):
            seconds = _from_milliseconds(value)
        case _:
            raise SettingError(f"{value!r} is not a duration: {_FORMAT_HINT}")
    if not 0 <= seconds <= 3650 * _SECONDS_PER_DAY:
        raise SettingError(f"{str(value)[:_MAX_TEXT_LENGTH]} is not a duration between 0 and ten years")
    return seconds


def _from_milliseconds(number: float) -> float:
    try:
        return number / 1000
    except OverflowError:
        return float("inf")


def _parse_text(text: str) -> float:
    if len(text) <= _MAX_TEXT_LENGTH and _DURATION_PATTERN.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    try:
        return float(text if len(text) <= _MAX_TEXT_LENGTH else "") / 1000
    except ValueError:
        raise SettingError(f"{text[:_MAX_TEXT_LENGTH]!r} is not a duration: {_FORMAT_HINT}") from None


def format_duration(seconds: float) -> str:
    """Return ``seconds`` as people write it: ``500ms``, ``30s``, ``1m30s``."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    hours, remainder = divmod(milliseconds, 3_600_000)
    minutes, remainder = divmod(remainder, 60_000)
    tail = f"{remainder / 1000:.3f}".rstrip("0").rstrip(".")
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{tail}s" if remainder else ""]
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Timing:
    """The intervals of a lock, in seconds. One that could not be kept safely cannot be constructed.

    Locks of equal timing share a session. Use `Timing.of` to have the lease derived.

    Raises:
        TimingError: ``lease - margin < 2 * heartbeat_interval``, so that one late heartbeat would cost the
            mastership.
        SettingError: a value is outside its bounds.

    Source: design section 3.4.

    """

    heartbeat_interval: float
    lease_duration: float
    stop_timeout: float
    max_heartbeat_retry_count: int
    check_master_interval: float

    def __post_init__(self) -> None:
        _check_bounds("heartbeatInterval", self.heartbeat_interval, 0.1, 3600)
        _check_bounds("leaseDuration", self.lease_duration, 0.2, _SECONDS_PER_DAY)
        _check_bounds("stopTimeout", self.stop_timeout, 0, 3600)
        _check_bounds("checkMasterInterval", self.check_master_interval, 0.1, _SECONDS_PER_DAY)
        if not 0 <= self.max_heartbeat_retry_count <= 100:
            raise SettingError(
                f"maxHeartbeatRetryCount is {self.max_heartbeat_retry_count}: it must be from 0 to 100"
            )
        if self.trust_duration < 2 * self.heartbeat_interval - 1e-9:
            raise TimingError(
                f"leaseDuration {format_duration(self.lease_duration)} is too short for "
                f"heartbeatInterval {format_duration(self.heartbeat_interval)} and "
                f"stopTimeout {format_duration(self.stop_timeout)}: it must hold two heartbeats, the stop and "
                f"{CLOCK_DRIFT:.0%} of itself; "
                f"{format_duration(self.min_lease_duration(self.heartbeat_interval, self.stop_timeout))} would do"
            )

    @classmethod
    def of(
        cls,
        heartbeat_interval: float = 8.0,
        lease_duration: float | None = None,
        stop_timeout: float = 2.0,
        max_heartbeat_retry_count: int = 3,
        check_master_interval: float = 30.0,
    ) -> Self:
        """Return the timing; where no lease is given, it is three heartbeats, or more if needed."""
        if lease_duration is None:
            lease_duration = max(3 * heartbeat_interval, cls.min_lease_duration(heartbeat_interval, stop_timeout))
        return cls(
            heartbeat_interval, lease_duration, stop_timeout, max_heartbeat_retry_count, check_master_interval
        )

    @staticmethod
    def min_lease_duration(heartbeat_interval: float, stop_timeout: float) -> float:
        """Return the shortest lease that the inequality allows, in whole milliseconds, as seconds."""
        exact = (2 * heartbeat_interval + stop_timeout) / (1 - CLOCK_DRIFT)
        return -int(-exact * 1000 // 1) / 1000

    @property
    def margin(self) -> float:
        """How long before its lease ends a master stops trusting it, in seconds."""
        return self.stop_timeout + CLOCK_DRIFT * self.lease_duration

    @property
    def trust_duration(self) -> float:
        """How long a renewal is trusted, counted from when it was sent, in seconds."""
        return self.lease_duration - self.margin

    @property
    def lease_ms(self) -> int:
        """The lease as the session's row carries it: whole milliseconds, never less than the lease."""
        return -int(-self.lease_duration * 1000 // 1)


def _check_bounds(name: str, value: float, minimum: float, maximum: float) -> None:
    if not minimum <= value <= maximum:
        raise SettingError(
            f"{name} is {format_duration(value)}: "
            f"it must be from {format_duration(minimum)} to {format_duration(maximum)}"
        )
