"""Real processes and real faults; at the end of each scenario the checker checks everything that happened."""

import signal
from pathlib import Path

import pytest

from tests.faults.checker import Failover, find_violations
from tests.faults.fixtures import SCENARIO_GUARANTEES as GUARANTEES
from tests.faults.fixtures import FaultHarness, WorkerProcess
from tests.faults.proxy import NetworkMode
from tests.faults.worker import now
from tests.servers import PostgreSQLStandby

BEYOND_THE_LEASE = GUARANTEES.lease + 0.6

NO_TIMER = ("--heartbeat", "1000s", "--lease", "3000s", "--check-interval", "1000s")
"""With these options no timer of a worker ends within the time limit of a test."""

BUSY_WRITE = "4"
"""Seconds for which a write lasts in which a busy machine has to pause its worker."""


@pytest.fixture(params=["harness", "sqlite_harness"], ids=["postgresql", "sqlite"])
def any_harness(request: pytest.FixtureRequest) -> FaultHarness:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def start_three_workers(harness: FaultHarness, *arguments: str) -> WorkerProcess:
    """Start three workers; return the master after its first write."""
    for _ in range(3):
        harness.start_worker(*arguments)
    return wait_for_first_write(harness)


def wait_for_first_write(harness: FaultHarness) -> WorkerProcess:
    for worker in harness.workers:
        harness.wait_for_message("up", worker, 0.0)
    master = harness.wait_for_master()
    harness.wait_for_message("wrote", master, 0.0)
    return master


def wait_seconds(harness: FaultHarness, seconds: float) -> None:
    """Wait while the fault lasts and the workers keep reporting."""
    deadline = now() + seconds
    while (remaining := deadline - now()) > 0:
        with harness._changed:
            harness._changed.wait(remaining)


# --- the end of a process


def test_a_killed_master_is_replaced_when_its_lease_is_over(any_harness: FaultHarness) -> None:
    killed = start_three_workers(any_harness)
    any_harness.kill(killed)
    any_harness.wait_for_master(other_than=killed)
    (change,) = any_harness.assert_no_violations()
    assert change.cause == "gone"
    assert seconds_without(any_harness, killed, change) > GUARANTEES.lease / 3


def seconds_without(harness: FaultHarness, killed: WorkerProcess, change: Failover) -> float:
    """Return the seconds from just before the kill to the next start.

    They are the lease less the age of the last heartbeat, which may be some seconds old on a busy machine.
    """
    (leaving_at,) = (
        event.at for event in harness.event_log().events if (event.what, event.who) == ("leaving", killed.name)
    )
    return change.at - leaving_at


def test_a_terminated_master_hands_over_at_once(any_harness: FaultHarness) -> None:
    ended = start_three_workers(any_harness, *NO_TIMER)
    any_harness.terminate(ended)
    any_harness.wait_for_master(other_than=ended)
    assert ended.process.returncode == -signal.SIGTERM
    (change,) = any_harness.assert_no_violations()
    assert change.cause == "stop"


def test_a_freshly_started_worker_takes_over_from_a_dead_one(harness: FaultHarness) -> None:
    killed = harness.start_worker()
    wait_for_first_write(harness)
    harness.kill(killed)
    harness.start_worker()
    harness.wait_for_master(other_than=killed)
    assert len(harness.assert_no_violations()) == 1


# --- a paused process


def test_a_master_paused_beyond_its_lease_stops_when_resumed(any_harness: FaultHarness) -> None:
    frozen = start_three_workers(any_harness)
    any_harness.wait_for_message(
        "wrote", frozen, now()
    )  # between two writes: a paused writer would hold the only lock of SQLite
    any_harness.pause(frozen)
    any_harness.wait_for_master(other_than=frozen)
    wait_seconds(any_harness, BEYOND_THE_LEASE - GUARANTEES.lease)
    resumed_at = now()
    any_harness.resume(frozen)
    any_harness.wait_for_message("stop", frozen, resumed_at)
    assert len(any_harness.assert_no_violations()) == 1


def test_a_pause_shorter_than_the_margin_changes_nothing(harness: FaultHarness) -> None:
    master = start_three_workers(harness)
    for _ in range(5):
        harness.pause(master)
        wait_seconds(harness, 0.8 * GUARANTEES.margin)
        harness.resume(master)
        harness.wait_for_message("wrote", master, now())
    assert harness.assert_no_violations() == []


def test_a_candidate_that_was_paused_evicts_no_session_when_resumed(harness: FaultHarness) -> None:
    master = start_three_workers(harness)
    candidates = [worker for worker in harness.workers if worker is not master]
    for candidate in candidates:
        harness.pause(candidate)
    wait_seconds(harness, BEYOND_THE_LEASE)
    for candidate in candidates:
        harness.resume(candidate)
    wait_seconds(harness, 2 * GUARANTEES.heartbeat)
    assert harness.assert_no_violations() == []


def freeze_during_write(harness: FaultHarness, *arguments: str) -> WorkerProcess:
    """Pause a master between its INSERT and its guard until another has written; return it, resumed."""
    frozen = harness.start_worker("--before-guard", BUSY_WRITE, *arguments)
    harness.wait_for_message("writing", frozen, 0.0)
    second = harness.start_worker()
    harness.wait_for_message("writing", frozen, now())
    harness.pause(frozen)
    harness.wait_for_master(other_than=frozen)
    harness.wait_for_message("wrote", second, 0.0)
    harness.resume(frozen)
    return frozen


def test_the_guard_refuses_the_write_of_a_master_that_was_paused_in_it(harness: FaultHarness) -> None:
    frozen = freeze_during_write(harness)
    harness.wait_for(
        lambda: harness.count_messages("refused", frozen) + harness.count_messages("not written", frozen) > 0,
        "a refusal",
    )
    assert len(harness.assert_no_violations()) == 1


def test_without_the_guard_the_checker_finds_the_stale_write(harness: FaultHarness) -> None:
    frozen = freeze_during_write(harness, "--unguarded")
    harness.wait_for_message("wrote", frozen, now())
    violations = find_violations(harness.close_and_collect(), GUARANTEES)
    assert violations
    assert all(violation.startswith("I2: by") for violation in violations)


def test_a_master_paused_between_guard_and_commit_delays_others_no_longer_than_its_idle_limit(
    harness: FaultHarness,
) -> None:
    frozen = harness.start_worker("--after-guard", BUSY_WRITE)
    harness.wait_for_message("guarded", frozen, 0.0)
    harness.start_worker()
    harness.wait_for_message("guarded", frozen, now())
    harness.pause(frozen)
    harness.record("down")  # the row is locked, so others cannot use the database normally
    harness.wait_for(
        lambda: len(harness.event_log().runs()) > 1, "a new master"
    )  # while the first is still paused
    harness.record("back")
    harness.resume(frozen)  # only now: the server has ended its transaction
    assert len(harness.assert_no_violations()) == 1


# --- the switch


def test_a_disable_and_an_enable_take_effect(any_harness: FaultHarness) -> None:
    start_three_workers(any_harness)
    any_harness.disable()
    any_harness.wait_for(lambda: any_harness.master() is None, "a stop")
    any_harness.enable()
    any_harness.wait_for_master()
    (change,) = any_harness.assert_no_violations()
    assert change.cause == "stop"


def test_a_disabled_lock_of_a_dead_master_is_not_claimed(harness: FaultHarness) -> None:
    killed = start_three_workers(harness)
    harness.kill(killed)
    harness.disable()
    wait_seconds(harness, BEYOND_THE_LEASE)
    assert harness.master() is None
    harness.enable()
    harness.wait_for_master()
    harness.assert_no_violations()


# --- the database


@pytest.mark.parametrize("shutdown_mode", ["fast", "immediate"])
def test_a_restart_of_the_database_is_survived(harness: FaultHarness, shutdown_mode: str) -> None:
    start_three_workers(harness)
    with harness.outage() as server:
        server.shut_down() if shutdown_mode == "fast" else server.crash()
        server.restart()
    new_master = harness.wait_for_master()
    harness.wait_for_message("wrote", new_master, now())
    harness.assert_no_violations()


def test_a_long_database_outage_stops_the_master_until_it_ends(harness: FaultHarness) -> None:
    start_three_workers(harness)
    with harness.outage() as server:
        server.crash()
        harness.wait_for(lambda: harness.master() is None, "a stop")
        server.restart()
    harness.wait_for_message("wrote", harness.wait_for_master(), now())
    harness.assert_no_violations()


@pytest.mark.parametrize("include_postmaster", [True, False], ids=["all of it", "its open connections"])
def test_a_frozen_database_is_survived(harness: FaultHarness, include_postmaster: bool) -> None:
    start_three_workers(harness)
    with harness.outage() as server:
        frozen = server.freeze(include_postmaster=include_postmaster)
        try:
            wait_seconds(harness, BEYOND_THE_LEASE)
        finally:
            server.thaw(frozen)
    harness.wait_for_message("wrote", harness.wait_for_master(), now())
    harness.assert_no_violations()


def test_a_promoted_standby_that_lacks_the_claim_starts_no_second_job_beside_the_first(
    harness: FaultHarness,
) -> None:
    """The first one reaches no database any more, and trusts its last heartbeat."""
    assert harness.server is not None
    standby = PostgreSQLStandby(harness.server)
    try:
        first = harness.start_worker("--write-every", "0")
        harness.wait_for(lambda: harness.master() is first, "a master")
        second = harness.start_worker("--write-every", "0")
        harness.wait_for_message("up", second, 0.0)
        with harness.outage() as server:
            server.crash()
            harness.disturb_network(first, NetworkMode.SWALLOW)
            standby.start()
            harness.fail_over(standby)
            harness.wait_for(lambda: harness.master() is second, "another master")
            server.restart()
    finally:
        standby.stop()
    (change,) = harness.assert_no_violations()
    assert change.before == first.name


# --- the network


@pytest.mark.parametrize(
    "mode", [NetworkMode.DROP, NetworkMode.SWALLOW, NetworkMode.MUTE], ids=lambda each: each.name
)
def test_a_master_that_is_cut_off_stops_before_another_starts(harness: FaultHarness, mode: NetworkMode) -> None:
    isolated = start_three_workers(harness)
    harness.disturb_network(isolated, mode)
    harness.wait_for_master(other_than=isolated)
    harness.restore_network(isolated)
    wait_seconds(harness, GUARANTEES.heartbeat)
    changes = harness.assert_no_violations()
    assert changes[0].cause == "stop"


def test_a_slow_network_changes_nothing(harness: FaultHarness) -> None:
    master = start_three_workers(harness)
    harness.disturb_network(master, NetworkMode.DELAY, delay=0.1)
    wait_seconds(harness, GUARANTEES.lease)
    harness.restore_network(master)
    assert harness.assert_no_violations() == []


@pytest.mark.parametrize("mode", [NetworkMode.DROP, NetworkMode.SWALLOW], ids=lambda each: each.name)
def test_a_few_bad_connections_are_replaced_in_time(harness: FaultHarness, mode: NetworkMode) -> None:
    master = start_three_workers(harness)
    harness.disturb_network(master, mode, every_nth=3)
    wait_seconds(harness, GUARANTEES.lease)
    harness.restore_network(master)
    harness.wait_for_message("wrote", harness.wait_for_master(), now())
    harness.assert_no_violations()


def test_a_network_outage_for_all_stops_the_master_until_it_ends(harness: FaultHarness) -> None:
    start_three_workers(harness)
    for worker in harness.workers:
        harness.disturb_network(worker, NetworkMode.SWALLOW)
    harness.wait_for(lambda: harness.master() is None, "a stop")
    for worker in harness.workers:
        harness.restore_network(worker)
    harness.wait_for_message("wrote", harness.wait_for_master(), now())
    harness.assert_no_violations()


# --- clocks


@pytest.mark.usefixtures("_faketime")
def test_instances_whose_clocks_are_hours_apart_agree(harness: FaultHarness) -> None:
    for offset in ("+3600s", "-7200s", "+0"):
        harness.start_worker(wall_clock=offset)
    first = wait_for_first_write(harness)
    harness.kill(first)
    second = harness.wait_for_master(other_than=first)
    harness.terminate(second)
    harness.wait_for_master(other_than=second)
    killed, terminated = harness.assert_no_violations()
    seconds = seconds_without(harness, first, killed)
    assert seconds > GUARANTEES.lease / 3, "no wall clock may cause an eviction"
    assert terminated.cause == "stop"


@pytest.mark.usefixtures("_faketime")
def test_a_wall_clock_that_jumps_changes_nothing(harness: FaultHarness, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    for _ in range(3):
        harness.start_worker(wall_clock=f"@{clock}")
    wait_for_first_write(harness)
    for offset in ("+3600\n", "-86400\n", "+0\n"):
        clock.write_text(offset)
        wait_seconds(harness, 2.5 * GUARANTEES.heartbeat)
    assert harness.assert_no_violations() == []
