"""A job for the examples: it counts once a second, on the instance that is master.

Run it in as many processes as you like: MASTERJOB_DATABASE_URL=sqlite:///demo.sqlite3 python examples/ticker.py
"""

import os
import sys
import threading

from masterjob import Master, MasterJob, Term, start_master


def tick(term: Term) -> None:
    """Count until the term ends. A start that returns at once, together with a stop, would work too."""
    print(f"master of {term.lock_name}: {master.instance} (pid {os.getpid()})", flush=True)
    ticks = 0
    while not term.wait(1.0):
        ticks += 1
    print(f"   {os.getpid()} stopped after {ticks} ticks", flush=True)


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
