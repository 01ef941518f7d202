"""SIGTERM in an application: first its jobs and locks end, whichever thread takes the signal.

In these programs a thread sends the signal to itself: the kernel may choose any thread while the main one blocks
signals, as the C library does while it starts a thread.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

import masterjob
from tests.library.conftest import LibraryHarness
from tests.timeouts import WAIT_TIMEOUT

RunProgram = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run_program(sqlite_harness: LibraryHarness) -> Iterator[RunProgram]:
    """Run a program on the database of the harness. It is killed after a while, so that a failure ends."""
    processes: list[subprocess.Popen[str]] = []
    kill_timers: list[threading.Timer] = []

    def start(program: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", program, sqlite_harness.url, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        kill_timers.append(threading.Timer(WAIT_TIMEOUT, process.kill))
        kill_timers[-1].start()
        return process

    yield start
    for kill_timer in kill_timers:
        kill_timer.cancel()
    for process in processes:
        process.kill()
        process.communicate()


def send_line(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_free(harness: LibraryHarness) -> bool:
    (lock,) = masterjob.status("JOB", database=harness.url)
    return lock.master is None


@pytest.mark.parametrize("wait", ["event", "sleep", "pause"])
def test_it_takes_effect_while_the_main_thread_waits_for_ever(sqlite_harness: LibraryHarness, wait: str) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--wait", wait)
    harness.wait_for("start")
    process.send_line("take SIGTERM")
    harness.wait_for("stop")
    assert process.wait() == -signal.SIGTERM
    assert is_free(harness)


def test_an_earlier_handler_is_called_once_and_no_lock_waits_for_that(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--own-handler")
    harness.wait_for("start")
    other = harness.start_instance()
    process.send_line("take SIGTERM")
    harness.wait_for("stop", process=process)
    assert harness.wait_for("start").process is other
    assert process.wait() == 7
    assert [message.details["thread"] for message in harness.received("own handler")] == ["MainThread"]


def test_a_handler_that_was_set_after_ours_replaces_it(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--later-handler")
    harness.wait_for("start")
    process.send_line("take SIGTERM")
    process.send_line("ask")
    assert harness.wait_for("answer").details["is_master"]
    process.send_line("return")
    harness.wait_for("own handler")
    harness.wait_for("stop")
    assert process.wait() == 7


def test_an_ignored_signal_stays_ignored(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance("--ignores")
    harness.wait_for("start")
    process.send_signal(signal.SIGTERM)
    process.send_line("take SIGTERM")
    process.send_line("ask")
    assert harness.wait_for("answer").details["is_master"]
    process.send_line("return")
    assert process.wait() == 0


def test_other_signals_are_left_alone(sqlite_harness: LibraryHarness) -> None:
    harness = sqlite_harness
    process = harness.start_instance()
    harness.wait_for("start")
    process.send_signal(signal.SIGUSR1)
    harness.wait_for("other handler")
    process.send_line("ask")
    assert harness.wait_for("answer").details["is_master"]
    process.send_line("return")
    assert process.wait() == 0


EVENT_LOOP_PROGRAM = """
import asyncio, signal, sys, threading
from masterjob import MasterJob, start_master

def start_instance():
    job = MasterJob(lambda: print("start", flush=True), lambda: print("stop", flush=True))
    start_master(lock_name="JOB", master_job=job, database=sys.argv[1], init_delay="0s")

def listen():
    for line in sys.stdin:
        signal.pthread_kill(threading.get_ident(), getattr(signal, line.strip()))

def report(message):
    print(message, flush=True)

async def main():
    threading.Thread(target=listen, daemon=True).start()
    loop = asyncio.get_running_loop()
    if sys.argv[2] == "after us":
        start_instance()
    if sys.argv[2] != "never":
        loop.add_signal_handler(signal.SIGUSR1, report, "the loop's")
    if sys.argv[2] != "after us":
        start_instance()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("handles", ["before us", "after us"])
def test_an_event_loop_keeps_its_own_wakeup_fd_which_works_for_us_too(
    run_program: RunProgram, handles: str
) -> None:
    process = run_program(EVENT_LOOP_PROGRAM, handles)
    assert read_line(process) == "start"
    send_line(process, "SIGUSR1")
    assert read_line(process) == "the loop's"
    send_line(process, "SIGTERM")
    assert read_line(process) == "stop"
    assert process.wait(WAIT_TIMEOUT) == -signal.SIGTERM


def test_an_event_loop_that_handles_no_signals_needs_no_wakeup(run_program: RunProgram) -> None:
    process = run_program(EVENT_LOOP_PROGRAM, "never")
    assert read_line(process) == "start"
    send_line(process, "SIGTERM")
    assert read_line(process) == "stop"
    assert process.wait(WAIT_TIMEOUT) == -signal.SIGTERM


SLOW_STOP_PROGRAM = """
import signal, sys, threading
from masterjob import MasterJob, start_master

second_arrived = threading.Event()

def stop():
    print("stop", flush=True)
    second_arrived.wait()
    print("stopped", flush=True)

job = MasterJob(lambda: print("start", flush=True), stop)
start_master(lock_name="JOB", master_job=job, database=sys.argv[1], init_delay="0s", stop_timeout="10m")

def listen():
    for line in sys.stdin:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        if line == "second\\n":
            second_arrived.set()

threading.Thread(target=listen, daemon=True).start()
while True:  # so that the main thread runs the handlers of both signals
    signal.sigtimedwait([], 0.01)
"""


def test_a_second_signal_does_not_shorten_what_the_first_has_begun(
    run_program: RunProgram, sqlite_harness: LibraryHarness
) -> None:
    process = run_program(SLOW_STOP_PROGRAM)
    assert read_line(process) == "start"
    send_line(process, "first")
    assert read_line(process) == "stop"
    send_line(process, "second")
    assert read_line(process) == "stopped"
    assert process.wait(WAIT_TIMEOUT) == -signal.SIGTERM
    assert is_free(sqlite_harness)


FORKING_PROGRAM = """
import os, signal, sys, threading, time
from masterjob import MasterJob, start_master

def fork():
    child = os.fork()
    if child == 0:
        print("woken by", signal.set_wakeup_fd(-1), flush=True)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        os._exit(0)
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

def own(number, frame):
    print("own handler", os.getpid() == me, flush=True)

def ours_and_later(number, frame):
    print("later handler", flush=True)
    ours(number, frame)

me = os.getpid()
if "own" in sys.argv:
    signal.signal(signal.SIGTERM, own)
master = start_master(lock_name="JOB", master_job=MasterJob(lambda: None), database=sys.argv[1], init_delay="0s")
if "later" in sys.argv:
    ours = signal.signal(signal.SIGTERM, ours_and_later)
while not master.is_master:
    time.sleep(0.01)
if "thread" in sys.argv:
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
else:
    fork()
print("still master", master.is_master, flush=True)
"""


@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize(
    ("handlers", "lines"),
    [
        ((), ["ended with -15"]),
        (("own",), ["own handler False", "ended with 0"]),
        (("later",), ["later handler", "ended with -15"]),
        (("own", "later"), ["later handler", "own handler False", "ended with 0"]),
    ],
)
def test_a_forked_child_handles_it_as_before_us_and_does_not_notify_its_parent(
    run_program: RunProgram, thread: str, handlers: tuple[str, ...], lines: list[str]
) -> None:
    output, _ = run_program(FORKING_PROGRAM, thread, *handlers).communicate(timeout=WAIT_TIMEOUT)
    assert output.splitlines() == ["woken by -1", *lines, "still master True"]


UNHANDLED_PROGRAM = """
import signal, sys
from masterjob import MasterJob, start_master

job = MasterJob(lambda: None)
start_master(lock_name="JOB", master_job=job, database=sys.argv[1], handle_signals=False)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1))
"""


def test_without_handle_signals_nothing_is_touched(run_program: RunProgram) -> None:
    assert run_program(UNHANDLED_PROGRAM).communicate(timeout=WAIT_TIMEOUT)[0] == "True -1\n"


WAKEUP_FD_PROGRAM = """
import os, signal, sys
from masterjob.runtime.sigterm import SigtermHandler

_, theirs = os.pipe()
os.set_blocking(theirs, False)
if sys.argv[2] == "closed":  # and nothing else gets that number
    os.dup2(theirs, 500)
    os.close(theirs)
    theirs = 500
signal.set_wakeup_fd(theirs)
if sys.argv[2] != "open":
    os.close(theirs)
SigtermHandler(print).install()
print(signal.set_wakeup_fd(-1) == theirs)
"""


@pytest.mark.parametrize(
    ("existing_fd", "kept"), [("open", True), ("closed", False), ("closed, and reused by us", False)]
)
def test_the_wakeup_fd_of_another_library_stays_unless_it_was_closed(
    run_program: RunProgram, existing_fd: str, kept: bool
) -> None:
    assert run_program(WAKEUP_FD_PROGRAM, existing_fd).communicate(timeout=WAIT_TIMEOUT)[0] == f"{kept}\n"
