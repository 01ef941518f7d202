"""Which masters have an overdue heartbeat, from the lists of sessions that a candidate reads."""

from masterjob.election.values import SessionList, SessionRow
from masterjob.kube.status.heartbeats import OverdueHeartbeats


def sessions(**ages: tuple[int, int]) -> SessionList:
    """Return a list of sessions of pod-a: their ages and leases by id, in milliseconds."""
    return SessionList(0, tuple(SessionRow(name, "pod-a", 1, age, lease) for name, (age, lease) in ages.items()))


def test_a_heartbeat_is_overdue_after_half_of_its_lease_and_is_reported_once() -> None:
    heartbeats = OverdueHeartbeats()
    assert heartbeats.observe(sessions(one=(11_999, 24_000))) == frozenset()
    assert heartbeats.observe(sessions(one=(12_001, 24_000))) == {"pod-a"}
    assert heartbeats.observe(sessions(one=(20_000, 24_000))) == frozenset()


def test_a_heartbeat_that_returns_and_a_session_that_is_gone_are_reported_too() -> None:
    heartbeats = OverdueHeartbeats()
    heartbeats.observe(sessions(one=(13_000, 24_000)))
    assert heartbeats.observe(sessions(one=(100, 24_000))) == {"pod-a"}
    heartbeats.observe(sessions(one=(13_000, 24_000)))
    assert heartbeats.observe(sessions()) == {"pod-a"}


def test_each_session_of_an_instance_is_reported_when_it_becomes_overdue() -> None:
    heartbeats = OverdueHeartbeats()
    assert heartbeats.observe(sessions(short=(8_000, 15_000), long=(8_000, 24_000))) == {"pod-a"}
    assert heartbeats.observe(sessions(short=(13_000, 15_000), long=(13_000, 24_000))) == {"pod-a"}
