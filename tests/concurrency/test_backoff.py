from masterjob.concurrency.backoff import Backoff


def test_the_delay_doubles_from_the_initial_one_to_the_maximum() -> None:
    backoff = Backoff(initial=0.2, maximum=1.0)
    assert [backoff.delay(failures) for failures in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_any_number_of_failures_has_a_delay() -> None:
    assert Backoff(initial=0.5, maximum=300.0).delay(10_000) == 300.0
