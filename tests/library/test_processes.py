"""The library as an application uses it: real processes on real databases."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pytest

import masterjob

from .conftest import PATIENCE, Stage, wait_until


def test_start_is_called_on_one_instance_and_on_another_when_that_is_killed(stage: Stage) -> None:
    for _ in range(3):
        stage.enter()
    first = stage.hear("start")
    first.member.signal(signal.SIGKILL)
    first.member.wait()
    stage.ended(first.member)
    second = stage.hear("start")
    assert second.member is not first.member
    assert second.more["term"] > first.more["term"]
    stage.check_one_at_a_time()
    wait_until(lambda: kinds(stage)[:2] == ["elected", "evicted"])  # who is killed at once tells nothing


def kinds(stage: Stage) -> list[str]:
    """The history, the newest first; it is written right after what it tells."""
    return [event.kind for event in masterjob.history("JOB", database=stage.url)]


def test_sigterm_stops_the_job_and_hands_the_lock_over(stage: Stage) -> None:
    for _ in range(3):
        stage.enter()
    first = stage.hear("start")
    first.member.signal(signal.SIGTERM)
    stage.hear("stop", of=first.member)
    assert stage.hear("start").member is not first.member
    assert first.member.wait() == -signal.SIGTERM
    stage.check_one_at_a_time()


def test_the_interpreters_exit_stops_the_job_and_hands_the_lock_over(stage: Stage) -> None:
    first, second = stage.enter(), stage.enter()
    winner = stage.hear("start").member
    winner.say("return")
    stage.hear("stop", of=winner)
    assert stage.hear("start").member is (second if winner is first else first)
    assert winner.wait() == 0


def test_a_disabled_lock_is_stopped_everywhere_until_it_is_enabled(stage: Stage) -> None:
    for _ in range(2):
        stage.enter()
    stage.hear("start")
    assert masterjob.disable("JOB", "the disk is full", "tester", database=stage.url)
    stopped = stage.hear("stop")
    (lock,) = masterjob.status("JOB", database=stage.url)
    assert lock.disabled is not None
    assert (lock.disabled.reason, lock.disabled.actor) == ("the disk is full", "tester")
    for member in stage.members:
        member.say("ask")
    for _ in stage.members:
        assert not stage.hear("answer").more["is_master"]
    assert masterjob.enable("JOB", "tester", database=stage.url)
    assert stage.hear("start").at > stopped.at
    stage.check_one_at_a_time()


def test_a_step_down_gives_the_term_to_another(stage: Stage) -> None:
    for _ in range(2):  # MariaDB is polled once a second: who sits out less may be back before others know
        stage.enter("--heartbeat", "1500ms", "--lease", "5s")
    first = stage.hear("start").member
    assert masterjob.step_down("JOB", "please", "tester", database=stage.url)
    stage.hear("stop", of=first)
    assert stage.hear("start").member is not first
    why = [event.reason for event in masterjob.history("JOB", database=stage.url)]
    assert any("asked to step down by tester: please" in reason for reason in why)


def test_a_master_that_was_frozen_past_its_lease_stops_when_it_wakes_up(stage: Stage) -> None:
    for _ in range(2):
        stage.enter()
    first = stage.hear("start").member
    first.signal(signal.SIGSTOP)
    second = stage.hear("start").member
    assert second is not first
    first.signal(signal.SIGCONT)
    stage.hear("stop", of=first)
    first.say("ask")
    answer = stage.hear("answer", of=first)
    assert not answer.more["is_master"]
    second.say("ask")
    assert stage.hear("answer", of=second).more["is_master"]


def test_the_handle_says_in_words_what_its_instance_does(on_sqlite: Stage) -> None:
    stage = on_sqlite
    master = stage.enter()
    term = stage.hear("start").more["term"]
    other = stage.enter()
    for member in (master, other):
        member.say("ask")
    answers = {word.member: word.more for word in (stage.hear("answer"), stage.hear("answer"))}
    assert answers[master]["why"] == f"master since term {term}"
    assert answers[master]["term"] == term
    assert answers[other]["term"] is None


def test_a_close_gives_the_lock_to_others_and_the_process_goes_on(on_sqlite: Stage) -> None:
    stage = on_sqlite
    first = stage.enter()
    stage.hear("start")
    second = stage.enter()
    first.say("close")
    stage.hear("closed", of=first)
    assert stage.hear("start").member is second
    first.say("ask")
    assert stage.hear("answer", of=first).more["why"] == "not taking part"


def test_a_signal_handler_that_was_there_is_called_too(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter("--own-handler")
    stage.hear("start")
    member.signal(signal.SIGTERM)
    assert member.wait() == 7
    assert {word.event for word in (stage.hear("own handler"), *stage.heard("stop"))} == {"own handler", "stop"}


def test_a_coroutine_job_runs_on_the_applications_loop(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter("--job", "coroutine")
    assert stage.hear("start").more["thread"] == "MainThread"
    member.say("return")
    assert stage.hear("stop").more["thread"] == "MainThread"
    assert [word.event for word in stage.said][-2:] == ["cancelled", "stop"]
    assert member.wait() == 0


def test_a_start_that_raises_leaves_the_lock_to_others_and_says_why(on_sqlite: Stage) -> None:
    stage = on_sqlite
    failing = stage.enter("--job", "fails")
    stage.hear("failing")
    good = stage.enter()
    assert stage.hear("start").member is good
    reasons = [event.reason for event in masterjob.history("JOB", database=stage.url)]
    assert "start of JOB failed: RuntimeError: no disk" in reasons
    assert failing._process.poll() is None


def test_with_the_policy_exit_a_process_whose_stop_hangs_ends_with_its_lease(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter("--job", "stop-hangs", "--lost-policy", "exit")
    stage.hear("start")
    evict_everybody(stage.url)
    assert member.wait() == 1


def test_with_the_policy_stop_it_goes_on_and_tells(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter("--job", "stop-hangs")
    stage.hear("start")
    evict_everybody(stage.url)
    stage.hear("stop")
    wait_until(lambda: "overrun" in kinds(stage))
    assert member._process.poll() is None


def evict_everybody(url: str) -> None:
    """What a candidate does to a session that it holds for dead."""
    with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=PATIENCE) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM master_session")


def test_a_password_reaches_neither_log_nor_error(on_sqlite: Stage) -> None:
    on_sqlite.url = "postgresql://user:s3cret@127.0.0.1:1/none"
    member = on_sqlite.enter()
    wait_until(lambda: any("127.0.0.1" in line for line in member.errors))
    member.signal(signal.SIGTERM)
    member.wait()
    assert "s3cret" not in "".join(member.errors)


def test_thirty_locks_of_one_process_share_one_elector(on_sqlite: Stage) -> None:
    masters = [
        masterjob.start_master(
            lock_name=f"lock-{number}",
            master_job=masterjob.MasterJob(start=lambda: None),
            database=on_sqlite.url,
            init_delay="0s",
            handle_signals=False,
        )
        for number in range(30)
    ]
    wait_until(lambda: all(master.is_master for master in masters))
    assert len({master.instance for master in masters}) == 1
    names = Counter(thread.name for thread in threading.enumerate())
    assert [names[f"masterjob {each}"] for each in ("elector", "guard", "heartbeat", "control")] == [1] * 4
    for master in masters:
        master.close()
    assert not any(lock.master for lock in masterjob.status(database=on_sqlite.url))


SLOW_STOP = """
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
             init_delay="0s", stop_timeout="5s")
ended.wait()
"""


@pytest.mark.parametrize("handler", ["exits", "sets an event", "none"])
def test_however_a_process_ends_its_stop_is_waited_for_and_its_lock_released(
    on_sqlite: Stage, handler: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_STOP, on_sqlite.url, handler], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "start\n"
    process.send_signal(signal.SIGTERM)
    # A signal that comes before start has returned from its print has stop called once more when it has.
    assert process.communicate(timeout=PATIENCE)[0] in ("stop begins\nstop ends\n", 2 * "stop begins\nstop ends\n")
    (lock,) = masterjob.status("JOB", database=on_sqlite.url)
    assert lock.master is None


FORKS = """
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


def test_a_forked_child_is_no_instance_and_ends_by_sigterm_as_it_would_without_us(on_sqlite: Stage) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS, on_sqlite.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "the child is nothing\n"
    assert process.communicate("go on\n", timeout=PATIENCE)[0] == f"{-signal.SIGTERM}\n"
    (lock,) = masterjob.status("JOB", database=on_sqlite.url)
    assert lock.master is None
