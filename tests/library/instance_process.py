"""An application that uses the library. It prints what happens to it, each event as a line of JSON."""

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from masterjob import Master, MasterJob, Term, start_master
from masterjob.concurrency.clock import clock

master: Master


def emit(event: str, **details: object) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": clock(), "pid": os.getpid(), **details}) + "\n")
    sys.stdout.flush()


def start(term: Term) -> None:
    emit("start", term=term.number)


def stop() -> None:
    emit("stop")


def hang_in_stop() -> None:
    emit("stop")
    threading.Event().wait()


def fail() -> None:
    emit("failing")
    raise RuntimeError("no disk")


async def start_in_loop(term: Term) -> None:
    emit("start", term=term.number, thread=threading.current_thread().name)
    try:
        await asyncio.Event().wait()
    finally:
        emit("cancelled")


async def stop_in_loop() -> None:
    await asyncio.sleep(0)
    emit("stop", thread=threading.current_thread().name)


JOBS = {
    "function": MasterJob(start, stop),
    "stop-hangs": MasterJob(start, hang_in_stop),
    "fails": MasterJob(fail, stop),
    "coroutine": MasterJob(start_in_loop, stop_in_loop),
}


def own_handler(_number: int, _frame: FrameType | None) -> None:
    emit("own handler", thread=threading.current_thread().name)
    sys.exit(7)


def other_handler(_number: int, _frame: FrameType | None) -> None:
    emit("other handler")


stop_requested = threading.Event()

WAIT_FUNCTIONS: dict[str, Callable[[], object]] = {
    "event": stop_requested.wait,
    "sleep": lambda: time.sleep(3600),
    "pause": signal.pause,
}


def start_from_options(options: argparse.Namespace) -> Master:
    return start_master(
        lock_name=options.lock,
        master_job=JOBS[options.job],
        database=options.database,
        init_delay="50ms",
        heartbeat_interval=options.heartbeat,
        lease_duration=options.lease,
        stop_timeout=options.stop_timeout,
        check_master_interval="5s",
        lost_policy=options.lost_policy,
    )


def handle_commands() -> None:
    """Execute the commands on the standard input, one on each line."""
    for line in sys.stdin:
        match line.strip():
            case "take SIGTERM":  # as the kernel does while the main thread blocks the signal
                signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            case "ask":
                number = master.term.number if master.term else None
                emit("answer", is_master=master.is_master, why=master.why, term=number)
            case "step down":
                master.step_down("the test says so")
            case "close":
                master.close()
                emit("closed")
            case "return":
                break
    stop_requested.set()  # also if the test has ended


def main() -> None:
    global master  # noqa: PLW0603
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--lock", default="JOB")
    parser.add_argument("--job", default="function", choices=JOBS)
    parser.add_argument("--heartbeat", default="5s")
    parser.add_argument("--lease", default="60s")
    parser.add_argument("--stop-timeout", default="10s")
    parser.add_argument("--lost-policy", default="stop")
    parser.add_argument("--own-handler", action="store_true")
    parser.add_argument("--later-handler", action="store_true")
    parser.add_argument("--ignores", action="store_true")
    parser.add_argument("--wait", default="event", choices=WAIT_FUNCTIONS)
    options = parser.parse_args()
    if options.own_handler:
        signal.signal(signal.SIGTERM, own_handler)
    if options.ignores:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, other_handler)
    if options.job == "coroutine":
        asyncio.run(run_in_loop(options))
        return
    master = start_from_options(options)
    if options.later_handler:
        signal.signal(signal.SIGTERM, own_handler)
    threading.Thread(target=handle_commands, daemon=True).start()
    WAIT_FUNCTIONS[options.wait]()


async def run_in_loop(options: argparse.Namespace) -> None:
    global master  # noqa: PLW0603
    master = start_from_options(options)
    threading.Thread(target=handle_commands, daemon=True).start()
    while not stop_requested.is_set():
        await asyncio.sleep(0.01)
    await master.aclose()


if __name__ == "__main__":
    main()
