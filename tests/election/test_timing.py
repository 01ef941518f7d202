from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masterjob.election.timing import Timing, format_duration, parse_duration
from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError, TimingError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (8000, 8.0),
        ("8000", 8.0),
        (timedelta(seconds=2), 2.0),
        (0, 0.0),
    ],
)
def test_a_duration_is_text_with_units_or_milliseconds(value: object, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "5 s",
        "-1s",
        "1d",
        "nan",
        "inf",
        -5,
        True,
        None,
        "1" * 400,
        [],
        "s",
        10**400,
        -(10**400),
        float("nan"),
        "1" + " " * 70 + "x",
    ],
)
def test_anything_else_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(SettingError, match="duration"):
        parse_duration(value)


@given(st.integers(0, 10**9))
def test_a_formatted_duration_parses_back_to_itself(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


def test_the_default_lease_is_three_heartbeats() -> None:
    assert Timing.of().lease_duration == 24.0


def test_a_long_stop_makes_the_default_lease_longer() -> None:
    assert Timing.of(1.0, stop_timeout=10.0).lease_duration == pytest.approx(12 / 0.98, abs=0.001)


def test_a_timing_that_cannot_survive_one_late_heartbeat_cannot_be_constructed() -> None:
    with pytest.raises(TimingError) as refusal:
        Timing.of(8.0, lease_duration=16.0, stop_timeout=2.0)
    for word in ("leaseDuration 16s", "heartbeatInterval 8s", "stopTimeout 2s", "18.368s"):
        assert word in str(refusal.value)


@given(st.floats(0.1, 3600), st.floats(0, 3600))
def test_the_lease_that_the_error_names_suffices(heartbeat: float, stop: float) -> None:
    min_lease = Timing.min_lease_duration(heartbeat, stop)
    assert Timing.of(heartbeat, min_lease, stop).trust_duration >= 2 * heartbeat - 1e-6


@given(st.floats(0.1, 3600), st.floats(0, 3600))
def test_every_default_timing_leaves_room_to_claim(heartbeat: float, stop: float) -> None:
    """Right after a heartbeat there must be enough trust for a claim, however long the stop may take."""
    timing = Timing.of(heartbeat, None, stop)
    assert timing.trust_duration >= 2 * heartbeat - 1e-6
    assert timing.trust_duration + timing.margin == pytest.approx(timing.lease_duration)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"heartbeat_interval": 0.01}, "heartbeatInterval"),
        ({"heartbeat_interval": 7200.0}, "heartbeatInterval"),
        ({"stop_timeout": -1.0}, "stopTimeout"),
        ({"check_master_interval": 0.0}, "checkMasterInterval"),
        ({"max_heartbeat_retry_count": -1}, "maxHeartbeatRetryCount"),
        ({"lease_duration": 1e9}, "leaseDuration"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(arguments: dict[str, float], field: str) -> None:
    with pytest.raises(SettingError, match=field):
        Timing.of(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["JOB-SCHEDULER", "a", "größer als eins", "x" * 200, "with space"])
def test_a_lock_name_is_any_printable_text(name: str) -> None:
    assert validate_lock_name(name) == name


@pytest.mark.parametrize("name", ["", " padded", "padded ", "a\nb", "a\x00b", "a\ud800", "x" * 201, None, 7, "\t"])
def test_a_lock_name_that_databases_would_not_agree_on_is_refused(name: object) -> None:
    with pytest.raises(SettingError, match="lockName"):
        validate_lock_name(name)
