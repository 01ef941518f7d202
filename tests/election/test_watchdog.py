"""The watchdogs act even if everything else hangs."""

import subprocess
import sys
import textwrap
import threading

import pytest

from masterjob.concurrency.clock import clock
from masterjob.election.watchdog import TrustWatchdog
from tests.timeouts import WAIT_TIMEOUT


def test_the_watchdog_fires_at_its_deadline() -> None:
    fired = threading.Event()
    watchdog = TrustWatchdog(fired.set)
    deadline = clock() + 0.02
    watchdog.set_deadline(deadline)
    assert fired.wait(WAIT_TIMEOUT)
    assert clock() >= deadline
    watchdog.close()


def test_a_deadline_that_was_put_off_does_not_fire() -> None:
    fired = threading.Event()
    watchdog = TrustWatchdog(fired.set)
    watchdog.set_deadline(clock() + 3600)
    watchdog.set_deadline(float("inf"))
    watchdog.close()
    watchdog._thread.join(WAIT_TIMEOUT)
    assert not watchdog._thread.is_alive()
    assert not fired.is_set()


def test_an_earlier_deadline_replaces_a_later_one() -> None:
    fired = threading.Event()
    watchdog = TrustWatchdog(fired.set)
    watchdog.set_deadline(clock() + 3600)
    watchdog.set_deadline(clock())
    assert fired.wait(WAIT_TIMEOUT)
    watchdog.close()


GIL_HOLDING_PROGRAM = """
    import ctypes, sys
    from masterjob.concurrency.clock import clock
    from masterjob.election.watchdog import ExitWatchdog
    watchdog = ExitWatchdog()
    {arm}
    print("holding", flush=True)
    ctypes.PyDLL(None).usleep(3_000_000)   # PyDLL keeps the interpreter's lock, so no Python thread runs
    print("survived", flush=True)
"""


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_TIMEOUT, check=False)


def run_holding_gil(arm: str) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(GIL_HOLDING_PROGRAM).format(arm=arm)
    return run_program(program)


@pytest.mark.skipif(sys.platform == "win32", reason="usleep")
def test_the_exit_watchdog_ends_a_process_whose_native_code_holds_the_interpreter() -> None:
    completed = run_holding_gil("watchdog.set_deadline(clock() + 1.5)")
    assert (completed.returncode, completed.stdout) == (1, "holding\n")


def test_the_exit_watchdog_moves_with_every_heartbeat_and_is_disarmed_with_the_term() -> None:
    completed = run_holding_gil(
        "watchdog.set_deadline(clock() + 1.5); watchdog.set_deadline(clock() + 60); "
        "watchdog.set_deadline(float('inf'))"
    )
    assert (completed.returncode, completed.stdout) == (0, "holding\nsurvived\n")


@pytest.mark.parametrize("other", ["clock() + 60", "float('inf')"])
def test_of_two_exit_watchdogs_the_earlier_counts(other: str) -> None:
    assert (
        run_holding_gil(f"watchdog.set_deadline(clock() + 1.5); ExitWatchdog().set_deadline({other})").returncode
        == 1
    )


def test_the_exit_watchdog_works_without_a_standard_error() -> None:
    completed = run_holding_gil("sys.stderr = None; watchdog.set_deadline(clock() + 1.5)")
    assert completed.returncode == 1


FORKING_PROGRAM = """
    import os, signal, sys, threading
    from masterjob.concurrency.clock import clock
    from masterjob.election.watchdog import ExitWatchdog
    watchdog = ExitWatchdog()
    watchdog.set_deadline(clock() + 60)
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        {in_the_child}
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    {in_the_parent}
"""


@pytest.mark.parametrize(
    "in_the_child", ["pass", "watchdog.set_deadline(clock() + 60)", "ExitWatchdog().set_deadline(float('inf'))"]
)
def test_a_forked_child_has_no_exit_watchdog_and_may_set_its_own(in_the_child: str) -> None:
    program = textwrap.dedent(FORKING_PROGRAM).format(
        in_the_child=in_the_child, in_the_parent="watchdog.set_deadline(float('inf'))"
    )
    completed = run_program(program)
    assert (completed.returncode, completed.stdout) == (0, "7\n"), completed.stderr


def test_the_exit_watchdog_outlasts_a_fork_of_its_process() -> None:
    program = textwrap.dedent(FORKING_PROGRAM).format(
        in_the_child="pass", in_the_parent="watchdog.set_deadline(clock() + 1.5); threading.Event().wait(100)"
    )
    completed = run_program(program)
    assert (completed.returncode, completed.stdout) == (1, "7\n"), completed.stderr


MASTER_PROGRAM = """
    import ctypes, os, threading
    from masterjob.election.core.events import Declare
    from masterjob.election.runner import ElectionRunner
    from masterjob.election.timing import Timing
    from masterjob.election.values import Identity, LostPolicy
    from tests.election.runner_harness import HangingDatabase, RecordingJob, no_fence

    class BlockingJob(RecordingJob):
        def start(self, term, report):
            threading.Thread(target=hold_interpreter).start()

    def hold_interpreter():
        print("holding", flush=True)
        ctypes.PyDLL(None).sleep({seconds})
        os.write(1, b"survived")
        os._exit(0)

    runner = ElectionRunner(Identity("me"), HangingDatabase(), no_fence)
    runner.set_job("a", BlockingJob())
    runner.submit(Declare("a", Timing.of(0.5, 2.0, 0.1), LostPolicy.{policy}))
    runner.start()
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("policy", "seconds", "outcome"), [("EXIT", 60, (1, "holding\n")), ("STOP", 3, (0, "holding\nsurvived"))]
)
def test_a_job_that_holds_the_interpreter_from_its_start_outlives_its_lease_only_if_it_may(
    policy: str, seconds: int, outcome: tuple[int, str]
) -> None:
    completed = run_program(textwrap.dedent(MASTER_PROGRAM).format(policy=policy, seconds=seconds))
    assert (completed.returncode, completed.stdout) == outcome, completed.stderr
