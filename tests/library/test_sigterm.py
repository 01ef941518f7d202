"""SIGTERM in an application of its own: its jobs and locks first, whichever thread of it takes the signal.

A thread of these programs takes the signal itself, as the kernel may have any of them do: another than the main
one where that blocks signals, as the C library does while it starts a thread.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

import masterjob

from .conftest import PATIENCE, Stage

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(on_sqlite: Stage) -> Iterator[Run]:
    """Run a program on the stage's database; one that says nothing for long is killed, so that a failure ends."""
    processes: list[subprocess.Popen[str]] = []
    bounds: list[threading.Timer] = []

    def start(program: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", program, on_sqlite.url, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        bounds.append(threading.Timer(PATIENCE, process.kill))
        bounds[-1].start()
        return process

    yield start
    for bound in bounds:
        bound.cancel()
    for process in processes:
        process.kill()
        process.communicate()


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_free(stage: Stage) -> bool:
    (lock,) = masterjob.status("JOB", database=stage.url)
    return lock.master is None


@pytest.mark.parametrize("wait", ["event", "sleep", "pause"])
def test_it_is_acted_on_while_the_main_thread_waits_and_never_comes_round(on_sqlite: Stage, wait: str) -> None:
    stage = on_sqlite
    member = stage.enter("--wait", wait)
    stage.hear("start")
    member.say("take SIGTERM")
    stage.hear("stop")
    assert member.wait() == -signal.SIGTERM
    assert is_free(stage)


def test_an_earlier_handler_is_called_once_when_the_main_thread_comes_round_and_no_lock_waits_for_that(
    on_sqlite: Stage,
) -> None:
    stage = on_sqlite
    member = stage.enter("--own-handler")
    stage.hear("start")
    other = stage.enter()
    member.say("take SIGTERM")
    stage.hear("stop", of=member)
    assert stage.hear("start").member is other
    assert not stage.heard("own handler")
    member.say("return")
    assert stage.hear("own handler").more["thread"] == "MainThread"
    assert member.wait() == 7
    assert len(stage.heard("own handler")) == 1


def test_a_handler_that_came_after_ours_has_the_last_word(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter("--later-handler")
    stage.hear("start")
    member.say("take SIGTERM")
    member.say("ask")
    assert stage.hear("answer").more["is_master"]
    member.say("return")
    stage.hear("own handler")
    stage.hear("stop")
    assert member.wait() == 7


def test_an_ignored_one_stays_ignored(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter("--ignores")
    stage.hear("start")
    member.signal(signal.SIGTERM)
    member.say("take SIGTERM")
    member.say("ask")
    assert stage.hear("answer").more["is_master"]
    member.say("return")
    assert member.wait() == 0


def test_other_signals_are_none_of_our_business(on_sqlite: Stage) -> None:
    stage = on_sqlite
    member = stage.enter()
    stage.hear("start")
    member.signal(signal.SIGUSR1)
    stage.hear("other handler")
    member.say("ask")
    assert stage.hear("answer").more["is_master"]
    member.say("return")
    assert member.wait() == 0


LOOP = """
import asyncio, signal, sys, threading
from masterjob import MasterJob, start_master

def take_part():
    job = MasterJob(lambda: print("start", flush=True), lambda: print("stop", flush=True))
    start_master(lock_name="JOB", master_job=job, database=sys.argv[1], init_delay="0s")

def listen():
    for line in sys.stdin:
        signal.pthread_kill(threading.get_ident(), getattr(signal, line.strip()))

def say(words):
    print(words, flush=True)

async def main():
    threading.Thread(target=listen, daemon=True).start()
    loop = asyncio.get_running_loop()
    if sys.argv[2] == "after us":
        take_part()
    if sys.argv[2] != "never":
        loop.add_signal_handler(signal.SIGUSR1, say, "the loop's")
    if sys.argv[2] != "after us":
        take_part()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("handles", ["before us", "after us"])
def test_an_event_loop_keeps_its_own_way_to_be_woken_which_serves_us_too(run: Run, handles: str) -> None:
    process = run(LOOP, handles)
    assert hear(process) == "start"
    say(process, "SIGUSR1")
    assert hear(process) == "the loop's"
    say(process, "SIGTERM")
    assert hear(process) == "stop"
    assert process.wait(PATIENCE) == -signal.SIGTERM


def test_an_event_loop_that_handles_no_signals_need_not_be_woken(run: Run) -> None:
    process = run(LOOP, "never")
    assert hear(process) == "start"
    say(process, "SIGTERM")
    assert hear(process) == "stop"
    assert process.wait(PATIENCE) == -signal.SIGTERM


HANGS = """
import signal, sys, threading
from masterjob import MasterJob, start_master

def stop():
    print("stop", flush=True)
    threading.Event().wait()

job = MasterJob(lambda: print("start", flush=True), stop)
start_master(lock_name="JOB", master_job=job, database=sys.argv[1], init_delay="0s", stop_timeout="10m")

def listen():
    for line in sys.stdin:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=listen, daemon=True).start()
threading.Event().wait()
"""


def test_a_second_one_ends_a_process_whose_stop_hangs_at_once(run: Run) -> None:
    process = run(HANGS)
    assert hear(process) == "start"
    say(process, "first")
    assert hear(process) == "stop"
    say(process, "second")
    assert process.wait(PATIENCE) == -signal.SIGTERM


FORKS = """
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


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize(
    ("handlers", "words"),
    [
        ((), ["ended with -15"]),
        (("own",), ["own handler False", "ended with 0"]),
        (("later",), ["later handler", "ended with -15"]),
        (("own", "later"), ["later handler", "own handler False", "ended with 0"]),
    ],
)
def test_in_a_forked_child_it_does_what_it_did_before_us_and_its_parent_hears_nothing(
    run: Run, where: str, handlers: tuple[str, ...], words: list[str]
) -> None:
    said, _ = run(FORKS, where, *handlers).communicate(timeout=PATIENCE)
    assert said.splitlines() == ["woken by -1", *words, "still master True"]


WITHOUT = """
import signal, sys
from masterjob import MasterJob, start_master

job = MasterJob(lambda: None)
start_master(lock_name="JOB", master_job=job, database=sys.argv[1], handle_signals=False)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1))
"""


def test_without_handle_signals_nothing_is_touched(run: Run) -> None:
    assert run(WITHOUT).communicate(timeout=PATIENCE)[0] == "True -1\n"


KEEPS = """
import os, signal, sys
from masterjob.process.sigterm import Sigterm

_, theirs = os.pipe()
os.set_blocking(theirs, False)
if sys.argv[2] == "closed":  # and nothing else will have that number
    os.dup2(theirs, 500)
    os.close(theirs)
    theirs = 500
signal.set_wakeup_fd(theirs)
if sys.argv[2] != "open":
    os.close(theirs)
Sigterm(print).handle()
print(signal.set_wakeup_fd(-1) == theirs)
"""


@pytest.mark.parametrize(
    ("theirs", "stays"), [("open", True), ("closed", False), ("closed, and lent to us", False)]
)
def test_a_wakeup_fd_that_somebody_has_stays_unless_it_was_closed(run: Run, theirs: str, stays: bool) -> None:
    assert run(KEEPS, theirs).communicate(timeout=PATIENCE)[0] == f"{stays}\n"
