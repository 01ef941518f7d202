"""The job of these tests, a command: it writes down when it starts and when it stops.

    python -S -E journaling.py FOLDER [when-it-may]     it stops when LOCK.may-stop is in the folder

Into the journal of its lock it writes lines like `start 17 pod-a` and `stop 17 pod-a`. Two at once are found out
by nothing of ours: who runs holds a lock of the kernel's, which ends with its process, and who does not get it
writes `overlap 17 pod-a`. It needs nothing but the standard library, so it starts in some milliseconds.
"""

import fcntl
import os
import signal
import sys
import time


def main() -> None:
    folder, patient = sys.argv[1], sys.argv[2:] == ["when-it-may"]
    place = os.path.join(folder, os.environ["MASTERJOB_LOCK_NAME"])  # noqa: PTH118 - pathlib takes longer to load
    journal = os.open(f"{place}.journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    alone = os.open(f"{place}.alone", os.O_WRONLY | os.O_CREAT)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def note(what: str) -> None:
        os.write(journal, f"{what} {os.environ['MASTERJOB_TERM']} {os.environ['POD_NAME']}\n".encode())

    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlap")
    note("start")
    signal.sigwait({signal.SIGTERM})
    while patient and not os.path.exists(f"{place}.may-stop"):  # noqa: PTH110
        time.sleep(0.01)
    note("stop")


if __name__ == "__main__":
    main()
