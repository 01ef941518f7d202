"""The library as an application uses it: real processes on real databases."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pytest

import masterjob
from masterjob.lock_status import LockStatus
from tests.library.conftest import LibraryHarness, wait_until
from tests.timeouts import WAIT_TIMEOUT

SHORT_LEASE = ("--heartbeat", "2s", "--lease", "8s", "--stop-timeout", "1s")
"""For tests in which a lease must end. In the others no stall of the machine ends one.

A call may take as long as a heartbeat interval, and on a busy machine a connection to MariaDB takes over half a
second.
"""


def test_start_is_called_on_one_instance_and_on_another_when_that_is_killed(harness: LibraryHarness) -> None:
    for _ in range(3):
        harness.start_instance(*SHORT_LEASE)
    first = harness.wait_for("start")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    harness.record_kill(first.process)
    second = harness.wait_for("start")
    assert second.process is not first.process
    assert second.details["term"] > first.details["term"]
    harness.check_one_at_a_time()
    # A killed process records nothing: the one that evicts it does. Events that are milliseconds apart may be in
    # another order.
    wait_until(lambda: sorted(history_kinds(harness)[:3]) == ["elected", "evicted", "running"])


def history_kinds(harness: LibraryHarness) -> list[str]:
    """Return the kinds of the history, newest first."""
    return [event.kind for event in masterjob.history("JOB", database=harness.url)]


def test_sigterm_stops_the_job_and_hands_the_lock_over(harness: LibraryHarness) -> None:
    check_that_sigterm_hands_over(harness)


def test_other_releases_of_the_servers_elect_a_master_and_hand_the_lock_over(
    other_release_harness: LibraryHarness,
) -> None:
    check_that_sigterm_hands_over(other_release_harness)


def check_that_sigterm_hands_over(harness: LibraryHarness) -> None:
    for _ in range(3):
        harness.start_instance()
    first = harness.wait_for("start")
    first.process.send_signal(signal.SIGTERM)
    harness.wait_for("stop", process=first.process)
    assert harness.wait_for("start").process is not first.process
    assert first.process.wait() == -signal.SIGTERM
    harness.check_one_at_a_time()


def test_the_interpreters_exit_stops_the_job_and_hands_the_lock_over(harness: LibraryHarness) -> None:
    first, second = harness.start_instance(), harness.start_instance()
    winner = harness.wait_for("start").process
    winner.send_line("return")
    harness.wait_for("stop", process=winner)
    assert harness.wait_for("start").process is (second if winner is first else first)
    assert winner.wait() == 0


def test_the_run_of_the_job_is_recorded_until_the_process_has_ended(harness: LibraryHarness) -> None:
    process = harness.start_instance()
    harness.wait_for("start")

    def read() -> LockStatus:
        return masterjob.status("JOB", database=harness.url)[0]

    wait_until(lambda: read().state == "Running")
    lock = read()
    assert lock.job is not None
    assert lock.master is not None
    assert (lock.job.job, lock.job.instance, lock.job.term) == ("", lock.master.instance, lock.term)
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert (read().state, read().why) == ("Vacant", "no instance is alive")


def test_a_start_that_fails_is_the_reason_why_the_lock_is_vacant(harness: LibraryHarness) -> None:
    harness.start_instance("--job", "fails")
    harness.wait_for("failing")

    def read() -> LockStatus:
        return masterjob.status("JOB", database=harness.url)[0]

    wait_until(lambda: read().state == "StartFailed")
    assert "RuntimeError: no disk" in read().why


def test_a_disabled_lock_is_stopped_everywhere_until_it_is_enabled(harness: LibraryHarness) -> None:
    for _ in range(2):
        harness.start_instance()
    harness.wait_for("start")
    assert masterjob.disable("JOB", "the disk is full", "tester", database=harness.url)
    stopped = harness.wait_for("stop")
    (lock,) = masterjob.status("JOB", database=harness.url)
    assert lock.disabled is not None
    assert (lock.disabled.reason, lock.disabled.actor) == ("the disk is full", "tester")
    for process in harness.processes:
        process.send_line("ask")
    for _ in harness.processes:
        assert not harness.wait_for("answer").details["is_master"]
    assert masterjob.enable("JOB", "tester", database=harness.url)
    assert harness.wait_for("start").at > stopped.at
    harness.check_one_at_a_time()


def test_a_step_down_hands_the_lock_to_another_instance(harness: LibraryHarness) -> None:
    for _ in range(2):  # the first pauses for a heartbeat interval; with a short one it may win again
        harness.start_instance("--heartbeat", "20s")
    first = harness.wait_for("start").process
    assert masterjob.step_down("JOB", "please", "tester", database=harness.url)
    harness.wait_for("stop", process=first)
    assert harness.wait_for("start").process is not first
    reasons = [event.reason for event in masterjob.history("JOB", database=harness.url)]
    assert any("asked to step down by tester: please" in reason for reason in reasons)


def test_a_master_that_was_frozen_past_its_lease_stops_when_it_wakes_up(harness: LibraryHarness) -> None:
    for _ in range(2):
        harness.start_instance(*SHORT_LEASE)
    first = harness.wait_for("start").process
    first.send_signal(signal.SIGSTOP)
    second = harness.wait_for("start").process
    assert second is not first
    first.send_signal(signal.SIGCONT)
    harness.wait_for("stop", process=first)
    first.send_line("ask")
    answer = harness.wait_for("answer", process=first)
    assert not answer.details["is_master"]
    second.send_line("ask")
    assert harness.wait_for("answer", process=second).details["is_master"]


def test_the_handle_explains_the_state_of_its_instance(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    master = harness.start_instance()
    term = harness.wait_for("start").details["term"]
    other = harness.start_instance()
    for process in (master, other):
        process.send_line("ask")
    answers = {
        message.process: message.details for message in (harness.wait_for("answer"), harness.wait_for("answer"))
    }
    assert answers[master]["why"] == f"master since term {term}"
    assert answers[master]["term"] == term
    assert answers[other]["term"] is None


def test_a_close_gives_the_lock_to_others_and_the_process_goes_on(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    first = harness.start_instance()
    harness.wait_for("start")
    second = harness.start_instance()
    first.send_line("close")
    harness.wait_for("closed", process=first)
    assert harness.wait_for("start").process is second
    first.send_line("ask")
    assert harness.wait_for("answer", process=first).details["why"] == "not taking part"


def test_an_earlier_signal_handler_is_called_too(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--own-handler")
    harness.wait_for("start")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 7
    assert {message.event for message in (harness.wait_for("own handler"), *harness.received("stop"))} == {
        "own handler",
        "stop",
    }


def test_a_coroutine_job_runs_on_the_applications_loop(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--job", "coroutine")
    assert harness.wait_for("start").details["thread"] == "MainThread"
    process.send_line("return")
    assert harness.wait_for("stop").details["thread"] == "MainThread"
    assert [message.event for message in harness.messages][-2:] == ["cancelled", "stop"]
    assert process.wait() == 0


def test_a_start_that_raises_leaves_the_lock_to_others_and_says_why(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    failing = harness.start_instance("--job", "fails")
    harness.wait_for("failing")
    good = harness.start_instance()
    assert harness.wait_for("start").process is good
    reasons = [event.reason for event in masterjob.history("JOB", database=harness.url)]
    assert "start of JOB failed: RuntimeError: no disk" in reasons
    assert failing._process.poll() is None


def test_with_the_policy_exit_a_process_whose_stop_hangs_ends_with_its_lease(
    sqlite_harness: LibraryHarness,
) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--job", "stop-hangs", "--lost-policy", "exit", *SHORT_LEASE)
    harness.wait_for("start")
    evict_all(harness.url)
    assert process.wait() == 1


def test_with_the_policy_stop_it_goes_on_and_records_the_overrun(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--job", "stop-hangs", *SHORT_LEASE)
    harness.wait_for("start")
    evict_all(harness.url)
    harness.wait_for("stop")
    wait_until(lambda: "overrun" in history_kinds(harness))
    assert process._process.poll() is None


def evict_all(url: str) -> None:
    """Delete all sessions, as a candidate deletes one that it takes for dead."""
    with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=WAIT_TIMEOUT) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM master_session")


def test_a_password_reaches_neither_log_nor_error(sqlite_harness: LibraryHarness) -> None:
    sqlite_harness.url = "postgresql://user:s3cret@127.0.0.1:1/none"
    process = sqlite_harness.start_instance()
    wait_until(lambda: any("127.0.0.1" in line for line in process.stderr_lines))
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert "s3cret" not in "".join(process.stderr_lines)


def test_thirty_locks_of_one_process_share_one_elector(sqlite_harness: LibraryHarness) -> None:
    masters = [
        masterjob.start_master(
            lock_name=f"lock-{number}",
            master_job=masterjob.MasterJob(start=lambda: None),
            database=sqlite_harness.url,
            init_delay="0s",
            handle_signals=False,
        )
        for number in range(30)
    ]
    wait_until(lambda: all(master.is_master for master in masters))
    assert len({master.instance for master in masters}) == 1
    names = Counter(thread.name for thread in threading.enumerate())
    assert [names[f"masterjob-{each}"] for each in ("elector", "watchdog", "heartbeat", "control")] == [1] * 4
    for master in masters:
        master.close()
    assert not any(lock.master for lock in masterjob.status(database=sqlite_harness.url))


SLOW_STOP_PROGRAM = """
import signal, sys, threading, time
from masterjob import MasterJob, start_master
def stop():
    print("stop begins", flush=True); time.sleep(0.7); print("stop ends", flush=True)
ended = threading.Event()
if sys.argv[2] != "none":
    def handler(number, frame):
        ended.set()
        if sys.argv[2] == "exits":
            time.sleep(0.03)
            sys.exit(0)
    signal.signal(signal.SIGTERM, handler)
start_master(lock_name="JOB", master_job=MasterJob(lambda: print("start", flush=True), stop), database=sys.argv[1],
             init_delay="0s", lease_duration="10m", stop_timeout="2m")
ended.wait()
"""


@pytest.mark.parametrize("handler", ["exits", "sets an event", "none"])
def test_a_process_waits_for_its_stop_and_releases_its_lock_however_it_ends(
    sqlite_harness: LibraryHarness, handler: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_STOP_PROGRAM, sqlite_harness.url, handler], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "start\n"
    process.send_signal(signal.SIGTERM)
    # If the signal arrives before start has returned, stop is called once more after it.
    assert process.communicate(timeout=WAIT_TIMEOUT)[0] in (
        "stop begins\nstop ends\n",
        2 * "stop begins\nstop ends\n",
    )
    (lock,) = masterjob.status("JOB", database=sqlite_harness.url)
    assert lock.master is None


FORKING_PROGRAM = """
import os, signal, sys, time
import masterjob
from masterjob import MasterJob, start_master
master = start_master(lock_name="JOB", master_job=MasterJob(lambda: None), database=sys.argv[1], init_delay="0s")
while not master.is_master:
    time.sleep(0.01)
child = os.fork()
if child == 0:
    master.close()
    if not master.is_master:
        print("the child is nothing", flush=True)
    signal.pause()
sys.stdin.readline()
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"""


def test_a_forked_child_is_not_an_instance_and_sigterm_ends_it_as_it_would_without_us(
    sqlite_harness: LibraryHarness,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING_PROGRAM, sqlite_harness.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "the child is nothing\n"
    assert process.communicate("go on\n", timeout=WAIT_TIMEOUT)[0] == f"{-signal.SIGTERM}\n"
    (lock,) = masterjob.status("JOB", database=sqlite_harness.url)
    assert lock.master is None
