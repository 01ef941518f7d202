"""A small scheduler that runs on one of many instances: a report every ten seconds, and a clean end of the term.

MASTERJOB_DATABASE_URL=sqlite:////tmp/demo.sqlite3 python examples/scheduler.py [SECONDS BETWEEN]
"""

import contextlib
import sys
import threading
import time

from masterjob import MasterJob, Term, start_master

INTERVAL = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0


def report(number: int) -> None:
    print(f"report {number}", flush=True)


def schedule(term: Term) -> None:
    """Write reports on time while the term lasts. Between them, wait for the term's end instead of sleeping."""
    number, due = 0, time.monotonic()
    while not term.wait(max(0.0, due - time.monotonic())):
        number, due = number + 1, due + INTERVAL
        report(number)
        term.raise_if_lost()  # before each step that a former master must not take


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: the job is stopped and the lock released at exit
        start_master(lock_name="SCHEDULER", master_job=MasterJob(start=schedule), init_delay="100ms")
        threading.Event().wait()
