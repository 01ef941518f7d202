"""A seed always gives the same schedule."""

from collections import Counter

from tests.faults.fixtures import RANDOM_RUN_GUARANTEES as GUARANTEES
from tests.faults.schedule import DATABASE_FAULTS, LOCK_FAULTS, WORKER_FAULTS, schedule


def test_a_seed_always_gives_the_same_schedule() -> None:
    assert schedule(7, 600, 3, GUARANTEES) == schedule(7, 600, 3, GUARANTEES)
    assert schedule(7, 600, 3, GUARANTEES) != schedule(8, 600, 3, GUARANTEES)


def test_a_long_schedule_has_every_fault_in_order_of_time() -> None:
    faults = schedule(1, 7200, 3, GUARANTEES)
    assert set(Counter(fault.kind for fault in faults)) == {*WORKER_FAULTS, *DATABASE_FAULTS, *LOCK_FAULTS}
    assert [fault.starts_at for fault in faults] == sorted(fault.starts_at for fault in faults)
    assert all(fault.starts_at < 7200 for fault in faults)
