"""When a session is dead (design 3.3)."""

from masterjob.election.machine.watch import Watch
from masterjob.election.values import Census, SessionSeen

NOBODY: frozenset[str] = frozenset()
EPOCH = 1_700_000_000.0


class Observer:
    """Looks at one session with a lease of 10 s; its looks take no time unless said."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.clock_error = 0.0

    def look(
        self, now: float, beat: int, beaten_at: float, takes: float = 0.0, frame: float | None = None
    ) -> None:
        """``beaten_at`` is when the beat was written; ``frame`` the clock error at that time."""
        clock = EPOCH + now + takes / 2 + self.clock_error
        stamp = EPOCH + beaten_at + (self.clock_error if frame is None else frame)
        seen = SessionSeen("s", "rival", beat, round((clock - stamp) * 1000), 10_000)
        self.watch.look(Census(round(clock * 1000), (seen,)), now, now + takes, NOBODY)

    def evicts_at(self, now: float) -> bool | None:
        """None: not yet; else whether the database's own test has to agree."""
        return next((suspect.if_stale for suspect in self.watch.suspects(now)), None)


def test_a_session_is_dead_when_its_lease_has_passed_since_its_last_heartbeat() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.look(5.0, beat=2, beaten_at=4.0)
    assert observer.evicts_at(13.99) is None
    assert observer.evicts_at(14.01) is True


def test_a_session_that_beats_is_never_suspected() -> None:
    observer = Observer()
    for beat in range(40):
        observer.look(beat * 5.0, beat=beat, beaten_at=beat * 5.0 - 1)
        assert observer.evicts_at(beat * 5.0 + 4.9) is None


def test_the_very_first_look_takes_every_beat_for_new() -> None:
    observer = Observer()
    observer.look(0.0, beat=7, beaten_at=-3600.0)
    assert observer.evicts_at(9.99) is None
    assert observer.evicts_at(10.01) is True


def test_a_look_after_a_pause_is_like_a_very_first_look() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.look(50.0, beat=2, beaten_at=41.0)
    assert observer.evicts_at(52.0) is None
    assert observer.evicts_at(60.01) is True


def test_a_database_clock_that_jumps_forward_before_the_look_evicts_nobody() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.clock_error = 3600.0
    observer.look(5.0, beat=2, beaten_at=4.0, frame=0.0)
    assert observer.evicts_at(14.99) is None
    assert observer.evicts_at(15.01) is True


def test_a_database_clock_that_jumps_forward_after_the_look_changes_nothing() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.look(5.0, beat=2, beaten_at=4.0)
    observer.clock_error = 3600.0
    observer.look(10.0, beat=2, beaten_at=4.0, frame=0.0)
    assert observer.evicts_at(13.99) is None
    assert observer.evicts_at(14.01) is True


def test_a_database_clock_that_gains_slowly_makes_nobody_look_older_than_he_is() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.clock_error = 0.08  # within what counts as drift, so it has to be taken off the age
    observer.look(5.0, beat=2, beaten_at=4.0, frame=0.0)
    assert observer.evicts_at(14.0) is None


def test_after_a_jump_back_standstill_for_one_and_a_quarter_leases_is_enough() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.look(5.0, beat=2, beaten_at=4.0)
    observer.clock_error = -3600.0
    observer.look(10.0, beat=2, beaten_at=4.0, frame=0.0)
    assert observer.evicts_at(17.49) is None
    assert observer.evicts_at(17.51) is False


def test_the_delay_of_a_look_counts_for_the_session() -> None:
    observer = Observer()
    observer.look(0.0, beat=1, beaten_at=-1.0)
    observer.look(5.0, beat=2, beaten_at=4.5, takes=2.0)
    assert observer.evicts_at(15.4) is None


def test_a_session_that_was_new_since_the_last_look_is_believed_its_age() -> None:
    observer = Observer()
    observer.watch.look(Census(round(EPOCH * 1000), ()), 0.0, 0.0, NOBODY)
    observer.look(5.0, beat=1, beaten_at=2.0)
    assert observer.evicts_at(12.01) is True


def test_our_own_sessions_are_not_watched() -> None:
    watch = Watch()
    census = Census(0, (SessionSeen("mine", "me", 1, 99_000, 10_000),))
    watch.look(census, 0.0, 0.0, frozenset({"mine"}))
    assert not list(watch.suspects(1e6))
