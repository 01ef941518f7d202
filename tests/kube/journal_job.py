"""The job of these tests, a command: it writes down when it starts and when it stops.

    python -S -E journal_job.py FOLDER [when-it-may]     it stops when LOCK.may-stop is in the folder

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
    folder, waits_for_permission = sys.argv[1], sys.argv[2:] == ["when-it-may"]
    path_prefix = os.path.join(folder, os.environ["MASTERJOB_LOCK_NAME"])  # noqa: PTH118 - pathlib takes longer to load
    journal = os.open(f"{path_prefix}.journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    overlap_lock = os.open(f"{path_prefix}.alone", os.O_WRONLY | os.O_CREAT)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def write_entry(event: str) -> None:
        os.write(journal, f"{event} {os.environ['MASTERJOB_TERM']} {os.environ['POD_NAME']}\n".encode())

    try:
        fcntl.flock(overlap_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        write_entry("overlap")
    write_entry("start")
    signal.sigwait({signal.SIGTERM})
    while waits_for_permission and not os.path.exists(f"{path_prefix}.may-stop"):  # noqa: PTH110
        time.sleep(0.01)
    write_entry("stop")


if __name__ == "__main__":
    main()
