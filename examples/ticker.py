"""A job for the examples: counts, once a second, on whichever instance is master.

Run it in as many processes as you like: MASTERJOB_DATABASE_URL=sqlite:///demo.sqlite3 python examples/ticker.py
"""

import os
import sys
import threading

from masterjob import Master, MasterJob, Term, start_master


def tick(term: Term) -> None:
    """Stay as long as the term lasts; a start that returns at once, and a stop, would do as well."""
    print(f"master of {term.lock_name}: {master.instance} (pid {os.getpid()})", flush=True)
    beats = 0
    while not term.wait(1.0):
        beats += 1
    print(f"   {os.getpid()} stopped after {beats} ticks", flush=True)


def main() -> None:
    global master  # noqa: PLW0603
    master = start_master(
        lock_name="TICKER",
        master_job=MasterJob(start=tick),
        init_delay="200ms",
        heartbeat_interval="1s",
        lease_duration="3s",
        stop_timeout="500ms",
        check_master_interval="5s",
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        master.close()
        sys.exit(0)


master: Master

if __name__ == "__main__":
    main()
