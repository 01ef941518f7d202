"""One instance of an application in a benchmark: takes part in many locks and reports what happens."""

import argparse
import ctypes
import json
import os
import resource
import signal
import sys

from masterjob import MasterJob, Term, start_master
from masterjob.concurrency.clock import clock

_PR_SET_PDEATHSIG = 1


def emit(kind: str, lock: str = "", **more: object) -> None:
    """Write one line with a single write."""
    os.write(1, (json.dumps({"what": kind, "at": clock(), "lock": lock, **more}) + "\n").encode())


def start_candidate(options: argparse.Namespace, name: str) -> None:
    """Compete for one lock."""

    def start(term: Term) -> None:
        emit("start", name, term=term.number)

    start_master(
        lock_name=name,
        master_job=MasterJob(start, lambda: emit("stop", name)),
        database=options.database,
        init_delay=options.init_delay,
        heartbeat_interval=options.heartbeat,
        lease_duration=options.lease,
        stop_timeout=options.stop_timeout,
        check_master_interval=options.check_interval,
    )


def main() -> None:
    """Take part until this process or its parent is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--locks", type=int, default=1)
    parser.add_argument("--init-delay", default="0ms")
    parser.add_argument("--heartbeat")
    parser.add_argument("--lease")
    parser.add_argument("--stop-timeout")
    parser.add_argument("--check-interval")
    parser.add_argument("--wait", action="store_true", help="start when an input line arrives")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    emit("imported", kib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if options.wait:
        sys.stdin.readline()  # so that many start at the same moment, no matter how long each takes to load
    for number in range(options.locks):
        start_candidate(options, f"lock-{number:05d}")
    emit("up")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
