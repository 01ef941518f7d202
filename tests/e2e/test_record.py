"""The checks of the end-to-end tests find what they must find. These tests need no cluster."""

from datetime import UTC, datetime, timedelta

from tests.e2e.record import Row, gaps, second_masters

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def row(at: float, term: int, pod: str, event: str = "beat", lock_name: str = "A") -> Row:
    return Row(lock_name, term, pod, event, EPOCH + timedelta(seconds=at))


HANDOVER = [row(0, 1, "x", "start"), row(1, 1, "x"), row(2, 1, "x", "stop"), row(2.5, 2, "y", "start")]


def test_one_master_after_the_other_is_no_violation() -> None:
    assert second_masters(HANDOVER) == []


def test_two_locks_have_masters_of_their_own() -> None:
    assert second_masters([*HANDOVER, row(3, 1, "z", lock_name="B")]) == []


def test_a_former_master_that_continues_is_found() -> None:
    assert second_masters([*HANDOVER, row(3, 1, "x")]) == ["A: beat of term 1 after start of 2"]


def test_a_term_of_two_pods_is_found() -> None:
    assert second_masters([*HANDOVER, row(3, 2, "z")]) == ["A: term 2 in y and in z"]


def test_a_job_that_continues_after_its_stop_is_found() -> None:
    assert second_masters([*HANDOVER[:3], row(3, 1, "x")]) == ["A: beat of term 1 after its stop"]


def test_a_gap_is_from_the_last_row_of_a_term_to_the_first_of_the_next() -> None:
    (gap,) = gaps(HANDOVER)
    assert (gap.seconds, gap.is_graceful) == (0.5, True)
    (gap,) = gaps([HANDOVER[1], HANDOVER[3]])
    assert (gap.seconds, gap.is_graceful) == (1.5, False)


def test_a_row_of_psql_is_parsed() -> None:
    parsed = Row.parse("A|17|pod-1|beat|2026-01-01T00:00:00.500000")
    assert (parsed.term, parsed.at.microsecond) == (17, 500000)
