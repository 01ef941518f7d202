"""The judge of the end-to-end tests: what it must find, it finds. No cluster is needed for that."""

from datetime import UTC, datetime, timedelta

from tests.e2e.record import Row, gaps, second_masters

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def row(at: float, term: int, pod: str, what: str = "beat", lock_name: str = "A") -> Row:
    return Row(lock_name, term, pod, what, BEGIN + timedelta(seconds=at))


IN_ORDER = [row(0, 1, "x", "start"), row(1, 1, "x"), row(2, 1, "x", "stop"), row(2.5, 2, "y", "start")]


def test_one_master_after_the_other_is_as_promised() -> None:
    assert second_masters(IN_ORDER) == []


def test_two_locks_have_masters_of_their_own() -> None:
    assert second_masters([*IN_ORDER, row(3, 1, "z", lock_name="B")]) == []


def test_a_former_master_that_goes_on_is_found() -> None:
    assert second_masters([*IN_ORDER, row(3, 1, "x")]) == ["A: beat of term 1 after start of 2"]


def test_a_term_of_two_pods_is_found() -> None:
    assert second_masters([*IN_ORDER, row(3, 2, "z")]) == ["A: term 2 in y and in z"]


def test_a_job_that_goes_on_after_its_stop_is_found() -> None:
    assert second_masters([*IN_ORDER[:3], row(3, 1, "x")]) == ["A: beat of term 1 after its stop"]


def test_a_gap_is_from_the_last_sign_of_a_term_to_the_first_of_the_next() -> None:
    (gap,) = gaps(IN_ORDER)
    assert (gap.seconds, gap.in_order) == (0.5, True)
    (gap,) = gaps([IN_ORDER[1], IN_ORDER[3]])
    assert (gap.seconds, gap.in_order) == (1.5, False)


def test_a_line_of_psql_is_read() -> None:
    read = Row.read("A|17|pod-1|beat|2026-01-01T00:00:00.500000")
    assert (read.term, read.at.microsecond) == (17, 500000)
