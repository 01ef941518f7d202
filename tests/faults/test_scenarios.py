"""Real processes and real faults; every scenario ends with the verdict of the checker on all that happened."""

import signal
from pathlib import Path

import pytest

from tests.faults.checker import judge
from tests.faults.proxy import Weather
from tests.faults.stage import PROMISE, Stage, Worker
from tests.faults.worker import now

BEYOND_THE_LEASE = PROMISE.lease + 0.6


@pytest.fixture(params=["stage", "on_sqlite"], ids=["postgresql", "sqlite"])
def either(request: pytest.FixtureRequest) -> Stage:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def three(stage: Stage, *arguments: str) -> Worker:
    """Three workers; return the one that is master, and has written something."""
    for _ in range(3):
        stage.enter(*arguments)
    return settled(stage)


def settled(stage: Stage) -> Worker:
    for worker in stage.workers:
        stage.hear("up", worker, 0.0)
    master = stage.await_master()
    stage.hear("wrote", master, 0.0)
    return master


def let_pass(stage: Stage, seconds: float) -> None:
    """Live on for a while: the fault lasts, and the workers go on talking."""
    until = now() + seconds
    while (left := until - now()) > 0:
        with stage._changed:
            stage._changed.wait(left)


# --- the end of a process


def test_who_is_killed_is_replaced_when_its_lease_is_over(either: Stage) -> None:
    killed = three(either)
    either.kill(killed)
    either.await_master(but=killed)
    (change,) = either.verdict()
    assert change.cause == "gone"
    assert PROMISE.lease - PROMISE.heartbeat - 0.2 < change.seconds


def test_who_is_asked_to_end_hands_over_at_once(either: Stage) -> None:
    ended = three(either)
    either.terminate(ended)
    either.await_master(but=ended)
    assert ended.process.returncode == -signal.SIGTERM
    (change,) = either.verdict()
    assert change.cause == "stop"
    assert change.seconds < PROMISE.heartbeat, "a hand-over waits for no timer"


def test_a_freshly_started_worker_takes_over_from_a_dead_one(stage: Stage) -> None:
    killed = stage.enter()
    settled(stage)
    stage.kill(killed)
    stage.enter()
    stage.await_master(but=killed)
    assert len(stage.verdict()) == 1


# --- a process that is frozen


def test_a_master_frozen_beyond_its_lease_stops_when_it_wakes_up(either: Stage) -> None:
    frozen = three(either)
    either.hear("wrote", frozen, now())  # between two writes: a frozen writer would hold SQLite's only lock
    either.pause(frozen)
    either.await_master(but=frozen)
    let_pass(either, BEYOND_THE_LEASE - PROMISE.lease)
    woken = now()
    either.resume(frozen)
    either.hear("stop", frozen, woken)
    assert len(either.verdict()) == 1


def test_a_pause_shorter_than_the_margin_changes_nothing(stage: Stage) -> None:
    master = three(stage)
    for _ in range(5):
        stage.pause(master)
        let_pass(stage, 0.8 * PROMISE.margin)
        stage.resume(master)
        stage.hear("wrote", master, now())
    assert stage.verdict() == []


def test_a_candidate_that_was_frozen_evicts_nobody_when_it_wakes_up(stage: Stage) -> None:
    master = three(stage)
    candidates = [worker for worker in stage.workers if worker is not master]
    for candidate in candidates:
        stage.pause(candidate)
    let_pass(stage, BEYOND_THE_LEASE)
    for candidate in candidates:
        stage.resume(candidate)
    let_pass(stage, 2 * PROMISE.heartbeat)
    assert stage.verdict() == []


def frozen_in_a_write(stage: Stage, *arguments: str) -> Worker:
    """Have a master frozen between its INSERT and its guard until another has written; return it, awake."""
    frozen = stage.enter("--before-guard", "0.7", *arguments)
    stage.hear("writing", frozen, 0.0)
    second = stage.enter()
    stage.hear("writing", frozen, now())
    stage.pause(frozen)
    stage.await_master(but=frozen)
    stage.hear("wrote", second, 0.0)
    stage.resume(frozen)
    return frozen


def test_the_guard_refuses_the_write_of_a_master_that_was_frozen_in_it(stage: Stage) -> None:
    frozen = frozen_in_a_write(stage)
    stage.wait(lambda: stage.heard("refused", frozen) + stage.heard("not written", frozen) > 0, "a refusal")
    assert len(stage.verdict()) == 1


def test_without_the_guard_the_checker_finds_the_stale_write(stage: Stage) -> None:
    frozen = frozen_in_a_write(stage, "--unguarded")
    stage.hear("wrote", frozen, now())
    violations = judge(stage.whole_story(), PROMISE)
    assert violations
    assert all(violation.startswith("I2: by") for violation in violations)


def test_a_master_frozen_between_guard_and_commit_holds_others_up_no_longer_than_its_idle_limit(
    stage: Stage,
) -> None:
    frozen = stage.enter("--after-guard", "0.7")
    stage.hear("guarded", frozen, 0.0)
    stage.enter()
    stage.hear("guarded", frozen, now())
    since = now()
    stage.pause(frozen)
    stage.note("down")  # the row is locked, so the database is not what others need
    stage.wait(lambda: len(stage.story().runs()) > 1, "a new master")
    stage.note("back")
    assert now() - since < 10 + PROMISE.gap
    stage.resume(frozen)
    assert len(stage.verdict()) == 1


# --- the switch


def test_a_disable_is_obeyed_and_an_enable_too(either: Stage) -> None:
    three(either)
    either.disable()
    let_pass(either, PROMISE.stop_within + 0.3)
    assert either.master() is None
    either.enable()
    either.await_master()
    (change,) = either.verdict()
    assert change.cause == "stop"


def test_nobody_claims_a_disabled_lock_of_a_dead_master(stage: Stage) -> None:
    killed = three(stage)
    stage.kill(killed)
    stage.disable()
    let_pass(stage, BEYOND_THE_LEASE)
    assert stage.master() is None
    stage.enable()
    stage.await_master()
    stage.verdict()


# --- the database


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_of_the_database_is_survived(stage: Stage, how: str) -> None:
    three(stage)
    with stage.outage() as server:
        server.shut_down() if how == "fast" else server.crash()
        server.start_again()
    again = stage.await_master()
    stage.hear("wrote", again, now())
    stage.verdict()


def test_a_database_that_stays_away_stops_the_master_and_gets_it_back(stage: Stage) -> None:
    three(stage)
    with stage.outage() as server:
        server.crash()
        gone = now()
        stage.wait(lambda: stage.master() is None, "a stop")
        assert now() - gone < PROMISE.lease + 0.2, "trust ends before the lease does"
        server.start_again()
    stage.hear("wrote", stage.await_master(), now())
    stage.verdict()


@pytest.mark.parametrize("whole", [True, False], ids=["all of it", "its open connections"])
def test_a_frozen_database_is_survived(stage: Stage, whole: bool) -> None:
    three(stage)
    with stage.outage() as server:
        frozen = server.freeze(whole=whole)
        try:
            let_pass(stage, BEYOND_THE_LEASE)
        finally:
            server.thaw(frozen)
    stage.hear("wrote", stage.await_master(), now())
    stage.verdict()


# --- the network


@pytest.mark.parametrize("weather", [Weather.DROP, Weather.SWALLOW, Weather.MUTE], ids=lambda each: each.name)
def test_a_master_that_is_cut_off_stops_before_another_starts(stage: Stage, weather: Weather) -> None:
    lonely = three(stage)
    stage.cut(lonely, weather)
    stage.await_master(but=lonely)
    stage.heal(lonely)
    let_pass(stage, PROMISE.heartbeat)
    changes = stage.verdict()
    assert changes[0].cause == "stop"


def test_a_slow_network_changes_nothing(stage: Stage) -> None:
    master = three(stage)
    stage.cut(master, Weather.DELAY, delay=0.1)
    let_pass(stage, PROMISE.lease)
    stage.heal(master)
    assert stage.verdict() == []


@pytest.mark.parametrize("weather", [Weather.DROP, Weather.SWALLOW], ids=lambda each: each.name)
def test_a_few_bad_connections_are_replaced_in_time(stage: Stage, weather: Weather) -> None:
    master = three(stage)
    stage.cut(master, weather, each=3)
    let_pass(stage, PROMISE.lease)
    stage.heal(master)
    stage.hear("wrote", stage.await_master(), now())
    stage.verdict()


def test_everybody_cut_off_means_nobody_is_master_and_somebody_is_again(stage: Stage) -> None:
    three(stage)
    for worker in stage.workers:
        stage.cut(worker, Weather.SWALLOW)
    stage.wait(lambda: stage.master() is None, "a stop")
    for worker in stage.workers:
        stage.heal(worker)
    stage.hear("wrote", stage.await_master(), now())
    stage.verdict()


# --- clocks


@pytest.mark.usefixtures("_faketime")
def test_instances_whose_clocks_are_hours_apart_agree(stage: Stage) -> None:
    for offset in ("+3600s", "-7200s", "+0"):
        stage.enter(wall_clock=offset)
    first = settled(stage)
    stage.kill(first)
    second = stage.await_master(but=first)
    stage.terminate(second)
    stage.await_master(but=second)
    killed, asked = stage.verdict()
    assert killed.seconds > PROMISE.lease - PROMISE.heartbeat - 0.2, "evicted by nobody's wall clock"
    assert asked.seconds < PROMISE.heartbeat


@pytest.mark.usefixtures("_faketime")
def test_a_wall_clock_that_jumps_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    for _ in range(3):
        stage.enter(wall_clock=f"@{clock}")
    settled(stage)
    for offset in ("+3600\n", "-86400\n", "+0\n"):
        clock.write_text(offset)
        let_pass(stage, 2.5 * PROMISE.heartbeat)
    assert stage.verdict() == []
