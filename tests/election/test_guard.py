"""What ends a job when everything else hangs (design 3.4)."""

import subprocess
import sys
import textwrap
import threading

import pytest

from masterjob.election.clock import clock
from masterjob.election.guard import Guard


def test_the_alarm_sounds_when_its_time_has_come() -> None:
    sounded = threading.Event()
    guard = Guard(sounded.set)
    due = clock() + 0.02
    guard.set(due)
    assert sounded.wait(5)
    assert clock() >= due
    guard.close()


def test_an_alarm_that_was_put_off_does_not_sound() -> None:
    sounded = threading.Event()
    guard = Guard(sounded.set)
    guard.set(clock() + 3600)
    guard.set(float("inf"))
    guard.close()
    guard._thread.join(5)
    assert not guard._thread.is_alive()
    assert not sounded.is_set()


def test_an_earlier_alarm_replaces_a_later_one() -> None:
    sounded = threading.Event()
    guard = Guard(sounded.set)
    guard.set(clock() + 3600)
    guard.set(clock())
    assert sounded.wait(5)
    guard.close()


HOLDS_THE_INTERPRETER = """
    import ctypes, sys
    from masterjob.election.clock import clock
    from masterjob.election.guard import ExitTimer
    timer = ExitTimer()
    {arm}
    print("holding", flush=True)
    ctypes.PyDLL(None).usleep(900_000)   # PyDLL keeps the interpreter's lock: no Python thread runs meanwhile
    print("survived", flush=True)
"""


def hold(arm: str) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(HOLDS_THE_INTERPRETER).format(arm=arm)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="usleep")
def test_the_exit_timer_ends_a_process_whose_native_code_holds_the_interpreter() -> None:
    done = hold("timer.set(clock() + 0.1)")
    assert (done.returncode, done.stdout) == (1, "holding\n")


def test_the_exit_timer_moves_with_every_heartbeat_and_goes_off_with_the_term() -> None:
    done = hold("timer.set(clock() + 0.1); timer.set(clock() + 60); timer.set(float('inf'))")
    assert (done.returncode, done.stdout) == (0, "holding\nsurvived\n")


@pytest.mark.parametrize("other", ["clock() + 60", "float('inf')"])
def test_of_two_exit_timers_the_earlier_counts(other: str) -> None:
    assert hold(f"timer.set(clock() + 0.1); ExitTimer().set({other})").returncode == 1


def test_the_exit_timer_works_without_a_standard_error() -> None:
    done = hold("sys.stderr = None; timer.set(clock() + 0.1)")
    assert done.returncode == 1


FORKS = """
    import os, signal, sys, threading
    from masterjob.election.clock import clock
    from masterjob.election.guard import ExitTimer
    timer = ExitTimer()
    timer.set(clock() + 60)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        {in_the_child}
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    {in_the_parent}
"""


@pytest.mark.parametrize("in_the_child", ["pass", "timer.set(clock() + 60)", "ExitTimer().set(float('inf'))"])
def test_a_forked_child_has_no_exit_timer_and_may_set_its_own(in_the_child: str) -> None:
    code = textwrap.dedent(FORKS).format(in_the_child=in_the_child, in_the_parent="timer.set(float('inf'))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


def test_the_exit_timer_outlasts_a_fork_of_its_process() -> None:
    code = textwrap.dedent(FORKS).format(
        in_the_child="pass", in_the_parent="timer.set(clock() + 0.1); threading.Event().wait(30)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "7\n"), done.stderr
