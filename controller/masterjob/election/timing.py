"""Durations, and the inequality between them.

Inside the package all durations are seconds as ``float``; text and milliseconds exist only at the interfaces.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from masterjob.errors import SettingError, TimingError

CLOCK_DRIFT = 0.02
"""Share of the lease that is reserved for clocks that run at different speeds."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_DURATION_PATTERN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_SECONDS_PER_DAY = 86_400.0
_MAX_DURATION = 3650 * _SECONDS_PER_DAY
_MAX_TEXT_LENGTH = 64
_FORMAT_HINT = "write it like 500ms, 30s or 1m30s"


def parse_duration(value: object) -> float:
    """Return ``value`` in seconds.

    Args:
        value: text with units (``500ms``, ``30s``, ``1m30s``), a ``timedelta``, or milliseconds as a number or as
            text (as in the Node.js module).

    Raises:
        SettingError: it is none of these, is negative, or is not finite.

    """
    match value:
        case timedelta():
            seconds = value.total_seconds()
        case str():
            seconds = _parse_text(value.strip())
        case int() | float() if not isinstance(value, bool):
            seconds = max(-1, min(value, 2000 * _MAX_DURATION)) / 1000  # an int may be too large for a float
        case _:
            raise SettingError(f"{value!r} is not a duration: {_FORMAT_HINT}")
    if not 0 <= seconds <= _MAX_DURATION:
        raise SettingError(f"{str(value)[:_MAX_TEXT_LENGTH]} is not a duration between 0 and ten years")
    return seconds


def _parse_text(text: str) -> float:
    if len(text) <= _MAX_TEXT_LENGTH and _DURATION_PATTERN.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    try:
        return float(text if len(text) <= _MAX_TEXT_LENGTH else "") / 1000
    except ValueError:
        raise SettingError(f"{text[:_MAX_TEXT_LENGTH]!r} is not a duration: {_FORMAT_HINT}") from None


def format_duration(seconds: float) -> str:
    """Return ``seconds`` as text with units, such as ``500ms``, ``30s`` or ``1m30s``."""
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
    """The intervals of a lock, in seconds. An unsafe timing cannot be constructed.

    Locks of equal timing share a session. `Timing.of` derives the lease.

    Raises:
        TimingError: ``lease - margin < 2 * heartbeat_interval``, so one late heartbeat would end the term.
        SettingError: a value is outside its bounds.

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
            min_lease = self.min_lease_duration(self.heartbeat_interval, self.stop_timeout)
            raise TimingError(
                f"leaseDuration {format_duration(self.lease_duration)} is too short for "
                f"heartbeatInterval {format_duration(self.heartbeat_interval)} and "
                f"stopTimeout {format_duration(self.stop_timeout)}: it must hold two heartbeats, the stop and "
                f"{CLOCK_DRIFT:.0%} of itself; use at least {format_duration(min_lease)}"
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
        """Return the timing; without a lease, it is three heartbeat intervals, or more if needed."""
        if lease_duration is None:
            lease_duration = max(3 * heartbeat_interval, cls.min_lease_duration(heartbeat_interval, stop_timeout))
        return cls(
            heartbeat_interval, lease_duration, stop_timeout, max_heartbeat_retry_count, check_master_interval
        )

    @staticmethod
    def min_lease_duration(heartbeat_interval: float, stop_timeout: float) -> float:
        """Return the shortest lease that the inequality allows, in seconds, rounded up to milliseconds."""
        exact = (2 * heartbeat_interval + stop_timeout) / (1 - CLOCK_DRIFT)
        return -int(-exact * 1000 // 1) / 1000

    @property
    def margin(self) -> float:
        """The seconds before the end of its lease at which a master stops trusting it."""
        return self.stop_timeout + CLOCK_DRIFT * self.lease_duration

    @property
    def trust_duration(self) -> float:
        """The seconds for which a renewal is trusted, counted from when it was sent."""
        return self.lease_duration - self.margin

    @property
    def retry_interval(self) -> float:
        """The seconds between two attempts to renew after one has failed, unless the trust ends soon.

        ``max_heartbeat_retry_count`` retries divide the trust that a master has left when a heartbeat first fails.
        """
        trust_left = self.trust_duration - self.heartbeat_interval
        return min(self.heartbeat_interval, trust_left / (self.max_heartbeat_retry_count + 1))

    @property
    def lease_ms(self) -> int:
        """The lease in the session's row: whole milliseconds, rounded up."""
        return -int(-self.lease_duration * 1000 // 1)


def _check_bounds(name: str, value: float, minimum: float, maximum: float) -> None:
    if not minimum <= value <= maximum:
        raise SettingError(
            f"{name} is {format_duration(value)}: "
            f"it must be from {format_duration(minimum)} to {format_duration(maximum)}"
        )
