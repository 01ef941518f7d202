"""Stop the ticker of `make run` and start it again, and see who is master: the switch, as a library call."""

import os
import sys

import masterjob

LOCK = "TICKER"


def show() -> None:
    for lock in masterjob.status(LOCK):
        if lock.disabled is not None:
            print(f"{LOCK} is disabled by {lock.disabled.actor}: {lock.disabled.reason}")
        elif lock.master is not None:
            print(f"master of {LOCK}: {lock.master.instance}, term {lock.term}, since {lock.master.since:%X}")
        else:
            print(f"{LOCK} has no master at the moment")
    for event in masterjob.history(LOCK, limit=10):
        gap = f" (after {event.vacant_for.total_seconds():.3f} s without a master)" if event.vacant_for else ""
        print(f"   {event.at:%X}  {event.kind:13} {event.reason}{gap}")


def main() -> None:
    match sys.argv[1:]:
        case ["disable"]:
            done = masterjob.disable(LOCK, os.environ.get("REASON") or "trying it out")
            print("disabled" if done else "it was disabled before; the first reason is kept")
        case ["enable"]:
            print("enabled" if masterjob.enable(LOCK) else "it was not disabled")
        case ["status"]:
            show()
        case _:
            sys.exit("usage: switch.py disable|enable|status")


if __name__ == "__main__":
    try:
        main()
    except masterjob.MasterJobError as error:
        sys.exit(f"{error}. Is `make run` running?")
