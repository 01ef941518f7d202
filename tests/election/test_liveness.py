"""When a session is dead."""

from masterjob.election.core.liveness import LivenessDetector, WatchedSession
from masterjob.election.values import SessionList, SessionRow

NO_OWN_SESSIONS: frozenset[str] = frozenset()
EPOCH = 1_700_000_000.0
BOOT = 5_000.0
"""What the local clock shows at the time 0 of a test."""


class DetectorHarness:
    """Observes one session with a lease of 10 s; an observation takes no time by default."""

    def __init__(self) -> None:
        self.detector = LivenessDetector()
        self.clock_error = 0.0

    def observe(
        self,
        now: float,
        beat: int,
        beat_written_at: float,
        duration: float = 0.0,
        clock_error_at_beat: float | None = None,
    ) -> None:
        """Observe at ``now`` a beat that was written at ``beat_written_at``."""
        clock = EPOCH + now + duration / 2 + self.clock_error
        written_at = (
            EPOCH + beat_written_at + (self.clock_error if clock_error_at_beat is None else clock_error_at_beat)
        )
        row = SessionRow("s", "rival", beat, round((clock - written_at) * 1000), 10_000)
        sent = BOOT + now
        self.detector.observe(SessionList(round(clock * 1000), (row,)), sent, sent + duration, NO_OWN_SESSIONS)

    def if_stale_at(self, now: float) -> bool | None:
        """Return None if it must not be evicted yet; else whether the database's own test has to agree."""
        return next((suspect.if_stale for suspect in self.detector.suspects(BOOT + now)), None)


def test_a_session_is_dead_when_its_lease_has_passed_since_its_last_heartbeat() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=4.0)
    assert harness.if_stale_at(13.99) is None
    assert harness.if_stale_at(14.01) is True


def test_a_session_that_beats_is_never_suspected() -> None:
    harness = DetectorHarness()
    for beat in range(40):
        harness.observe(beat * 5.0, beat=beat, beat_written_at=beat * 5.0 - 1)
        assert harness.if_stale_at(beat * 5.0 + 4.9) is None


def test_the_very_first_observation_takes_every_beat_for_new() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=7, beat_written_at=-3600.0)
    assert harness.if_stale_at(9.99) is None
    assert harness.if_stale_at(10.01) is True


def test_an_observation_after_a_pause_is_like_a_very_first_one() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(50.0, beat=2, beat_written_at=41.0)
    assert harness.if_stale_at(52.0) is None
    assert harness.if_stale_at(60.01) is True


def test_a_database_clock_that_jumps_forward_before_the_observation_evicts_no_session() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.clock_error = 3600.0
    harness.observe(5.0, beat=2, beat_written_at=4.0, clock_error_at_beat=0.0)
    assert harness.if_stale_at(14.99) is None
    assert harness.if_stale_at(15.01) is True


def test_a_database_clock_that_jumps_forward_after_the_observation_changes_nothing() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=4.0)
    harness.clock_error = 3600.0
    harness.observe(10.0, beat=2, beat_written_at=4.0, clock_error_at_beat=0.0)
    assert harness.if_stale_at(13.99) is None
    assert harness.if_stale_at(14.01) is True


def test_a_database_clock_that_gains_slowly_makes_no_session_look_older() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.clock_error = 0.08  # within the allowed drift, so it has to be subtracted from the age
    harness.observe(5.0, beat=2, beat_written_at=4.0, clock_error_at_beat=0.0)
    assert harness.if_stale_at(14.0) is None
    assert harness.if_stale_at(14.09) is True


def test_after_a_jump_back_standstill_for_one_and_a_quarter_leases_is_enough() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=4.0)
    harness.clock_error = -3600.0
    harness.observe(10.0, beat=2, beat_written_at=4.0, clock_error_at_beat=0.0)
    assert harness.if_stale_at(17.49) is None
    assert harness.if_stale_at(17.51) is False


def test_the_delay_of_an_observation_counts_for_the_session() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=4.5, duration=2.0)
    assert harness.if_stale_at(15.4) is None


def test_the_age_of_a_session_that_is_new_since_the_last_observation_is_believed() -> None:
    harness = DetectorHarness()
    harness.detector.observe(SessionList(round(EPOCH * 1000), ()), BOOT, BOOT, NO_OWN_SESSIONS)
    harness.observe(5.0, beat=1, beat_written_at=2.0)
    assert harness.if_stale_at(12.01) is True


def test_our_own_sessions_are_not_watched() -> None:
    detector = LivenessDetector()
    session_list = SessionList(0, (SessionRow("mine", "me", 1, 99_000, 10_000),))
    detector.observe(session_list, 0.0, 0.0, frozenset({"mine"}))
    assert not list(detector.suspects(1e6))


def test_the_silence_of_a_session_is_the_age_that_was_read_and_the_time_since() -> None:
    def silence(age_ms: int) -> float:
        return WatchedSession(SessionRow("s", "rival", 1, age_ms, 10_000), 100.0, 0.0, 0.0).silent_for(102.0)

    assert silence(1500) == 3.5
    assert silence(0) == 2.0
    assert silence(-300) == 2.0, "a clock that stepped back makes no negative age"


def test_the_failed_attempts_to_evict_a_session_are_counted() -> None:
    watched = WatchedSession(SessionRow("s", "rival", 1, 0, 10_000), 100.0, 110.0, 112.5)
    detector = LivenessDetector()
    detector.postpone(watched, 111.0)
    detector.postpone(watched, 115.0)
    assert (watched.failed_evictions, watched.suspect_at, watched.dead_at) == (2, 115.0, 115.0)


def test_a_session_that_is_not_watched_can_be_forgotten() -> None:
    LivenessDetector().forget("unknown")


def test_the_age_of_a_session_that_was_our_own_until_now_is_not_believed() -> None:
    """Its heartbeat may be older than the last observation, and so may a step of the database's clock."""
    detector = LivenessDetector()
    detector.observe(SessionList(0, (SessionRow("mine", "me", 1, 0, 10_000),)), 0.0, 0.0, frozenset({"mine"}))
    given_up = SessionRow("mine", "me", 1, 9_900, 10_000)
    detector.observe(SessionList(1000, (given_up,)), 1.0, 1.0, frozenset({"another"}))
    assert not list(detector.suspects(10.9))
    assert list(detector.suspects(11.1))


def test_an_age_is_believed_to_the_millisecond() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(9.0, beat=2, beat_written_at=0.5)
    assert harness.if_stale_at(10.5) is None
    assert harness.if_stale_at(10.504) is True


def test_the_age_of_a_heartbeat_of_just_now_is_nothing() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=5.0)
    assert harness.if_stale_at(14.99) is None
    assert harness.if_stale_at(15.01) is True


def test_a_session_may_be_dead_a_moment_after_it_was_observed() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(9.9, beat=2, beat_written_at=0.1)
    assert harness.if_stale_at(10.09) is None
    assert harness.if_stale_at(10.11) is True


def test_an_age_counts_if_the_last_observation_is_just_a_lease_ago() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(10.0, beat=2, beat_written_at=5.0)
    assert harness.if_stale_at(15.01) is True


def test_a_session_that_the_database_does_not_call_stale_yet_is_not_suspected() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=4.0)
    harness.clock_error = -2.0
    harness.observe(10.0, beat=2, beat_written_at=4.0, clock_error_at_beat=0.0)
    assert harness.if_stale_at(16.001) is None
    assert harness.if_stale_at(16.003) is True


def test_a_session_that_is_almost_stale_is_not_suspected_yet() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=4.0)
    harness.clock_error = -0.5
    harness.observe(13.9, beat=2, beat_written_at=4.0, clock_error_at_beat=0.0)
    assert harness.if_stale_at(14.49) is None
    assert harness.if_stale_at(14.51) is True


# --- two clocks


def observe_by_two_clocks(harness: DetectorHarness, looks: int, difference: float = 30.0) -> None:
    """Observe a session that beats every 5 s, each beat written by a clock that is behind by that much."""
    for look in range(looks):
        now = look * 5.0
        harness.observe(now, beat=look, beat_written_at=now - 1, clock_error_at_beat=-difference)


def test_a_beat_that_moved_between_two_observations_is_not_older_than_the_time_between_them() -> None:
    harness = DetectorHarness()
    observe_by_two_clocks(harness, looks=2)
    assert harness.if_stale_at(14.99) is None
    assert harness.if_stale_at(15.01) is True


def test_after_an_age_that_cannot_be_right_no_age_of_this_session_counts() -> None:
    harness = DetectorHarness()
    observe_by_two_clocks(harness, looks=2)
    harness.observe(10.0, beat=2, beat_written_at=9.0, clock_error_at_beat=-3.0)
    assert harness.if_stale_at(19.99) is None
    assert harness.if_stale_at(20.01) is True


def test_two_ages_that_cannot_be_right_show_that_there_are_two_clocks() -> None:
    harness = DetectorHarness()
    observe_by_two_clocks(harness, looks=2)
    before = harness.detector.contradiction
    harness.observe(10.0, beat=2, beat_written_at=9.0, clock_error_at_beat=-30.0)
    assert before == "", "a heartbeat that has waited for a lock has such an age, too"
    assert harness.detector.contradiction == (
        "two clocks are at work: a heartbeat of rival that came within the last 5s is 31s old by the database's "
        "clock; the ages of its heartbeats do not count"
    )


def test_an_age_of_just_the_time_between_two_observations_is_right() -> None:
    harness = DetectorHarness()
    harness.observe(0.0, beat=1, beat_written_at=-1.0)
    harness.observe(5.0, beat=2, beat_written_at=0.0)
    assert harness.if_stale_at(10.01) is True
    harness.observe(9.0, beat=3, beat_written_at=5.0)
    assert not harness.detector.contradiction
