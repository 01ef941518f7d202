"""The shim: a process of its own that starts one command and ends it when its master's trust ends.

It is run as a script (``python -I -S shim.py STATUS LOCK``) and imports nothing but a little of the standard
library, so that it is there in some 20 ms and no freeze or crash of the controller is its own. It reads from its
standard input, which only the controller can write to:

    8 bytes, the length of a launch request, and the request (see `LaunchRequest`)
    end SECONDS     the trust's end now, by CLOCK_BOOTTIME
    stop SECONDS    stop the command; it was asked for at that time
    grace SECONDS   what the order says of it is this from now on, unless the command was asked to end already

and it writes lines to the file descriptor STATUS:

    started PID             the command's process, and the group and session that it leads
    unable WHAT ERRNO       it could not be started: WHAT is command or directory
    ended CODE              the command's exit code, or minus the signal that ended it
    overdue                 the trust's end has passed and nobody has said stop
    gone                    nothing of the command runs any more

Stopped, or with the trust's end passed, the command's group gets SIGTERM, and SIGKILL as soon as
``grace_period`` is
over: that still lies before the end of the lease. When the controller is dead (end of file, or its process is
gone) the group gets SIGKILL at once: its lease may be evicted at once too.

Where Linux lets it, the shim adopts the orphans of the command, and ends those too that have left the group;
and the command's process gets SIGKILL when the shim itself is killed. Elsewhere only the group is ended. What
the shim cannot do: end a process that changed to a user whom we may not signal (it then never says gone), outrun
one that forks faster than it is killed outside the group, or act while it is itself frozen, as with its machine.

Source: design section 3.4.
"""

import marshal
import os
import select
import signal
import sys
import time
from typing import NamedTuple, NoReturn

MAX_POLL_TIMEOUT = 0.5
"""Seconds that a wait lasts at most: a wait does not count the time that the machine sleeps, our clock does."""

STOPPING_POLL_TIMEOUT = 0.02
"""Seconds between looks while the command is being ended."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
NEVER, LONG_AGO = float("inf"), float("-inf")


def clock() -> float:
    """Return the same seconds as `masterjob.concurrency.clock`."""
    return time.clock_gettime(CLOCK_ID)


class LaunchRequest(NamedTuple):
    """What to run, and until when. It travels as a plain tuple, by ``marshal``: both ends are one interpreter."""

    argv: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    directory: bytes | None
    grace_period: float
    """Seconds between SIGTERM and SIGKILL."""
    trust_ends_at: float
    parent_pid: int


class Shim:
    """One command and its end."""

    def __init__(self, request: LaunchRequest, status_fd: int) -> None:
        self.request = request
        self.status_fd = status_fd
        self.trust_ends_at = request.trust_ends_at
        self.grace_period = request.grace_period
        self.kill_at = NEVER
        self.stopping = False
        self.command_exited = False
        self.group_gone = False
        self.terminated_pids: set[int] = set()  # those outside the group that got their SIGTERM
        self.partial_line = b""
        self.poller = select.poll()
        self.poller.register(0)

    def run(self) -> None:
        """Start the command, unless it is too late for that, and stay until nothing of it runs any more."""
        self.watch_parent()
        self.watch_children()
        if clock() >= self.trust_ends_at:
            self.write_status("overdue")
        else:
            self.spawn()
            while not self.all_processes_gone():
                self.poll_once()
        self.write_status("gone")

    def write_status(self, status: str) -> None:
        """Write a line to the controller, which may be dead by now."""
        try:
            os.write(self.status_fd, f"{status}\n".encode())
        except OSError:
            self.kill_at = LONG_AGO

    # --- what wakes it up

    def watch_parent(self) -> None:
        """Notice the controller's death even where a fork of its holds our standard input open."""
        try:
            self.parent_pidfd = os.pidfd_open(self.request.parent_pid)
        except (AttributeError, OSError):  # not Linux; or it is dead, which the next line sees
            self.parent_pidfd = -1
        else:
            self.poller.register(self.parent_pidfd, select.POLLIN)
        if os.getppid() != self.request.parent_pid:
            self.trust_ends_at = LONG_AGO

    def watch_children(self) -> None:
        """Have SIGCHLD wake the poll up, and be told to end by nobody but the controller."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_IGN)
        self.wakeup_fd, wakeup_write_fd = os.pipe()
        os.set_blocking(self.wakeup_fd, False)
        os.set_blocking(wakeup_write_fd, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wakeup_write_fd, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.poller.register(self.wakeup_fd, select.POLLIN)

    def poll_once(self) -> None:
        """Wait for whatever comes first, and do what is due."""
        for fd, _ in self.poller.poll(self.poll_timeout() * 1000):
            if fd == 0:
                self.read_messages()
            elif fd == self.wakeup_fd:
                os.read(self.wakeup_fd, 4096)
            else:
                self.handle_parent_exit(fd)
        self.reap()
        if not self.stopping and clock() >= self.trust_ends_at:
            self.write_status("overdue")
            self.stop(self.trust_ends_at)
        self.signal_remaining()

    def poll_timeout(self) -> float:
        """Return how many seconds may pass before the next look."""
        return (
            STOPPING_POLL_TIMEOUT
            if self.stopping
            else min(MAX_POLL_TIMEOUT, max(0.0, self.trust_ends_at - clock()))
        )

    # --- what it is told

    def read_messages(self) -> None:
        """Take what has come over the pipe; the last line may still lack its end."""
        data = os.read(0, 65536)
        if not data:
            self.handle_parent_exit(0)
            return
        *lines, self.partial_line = (self.partial_line + data).split(b"\n")
        for line in lines:
            word, seconds = line.split()
            if word == b"stop":
                self.stop(float(seconds))
            elif not self.stopping and word == b"grace":
                self.grace_period = float(seconds)
            elif not self.stopping:
                self.trust_ends_at = float(seconds)

    def stop(self, requested_at: float) -> None:
        """Ask the group to end, and set when it is made to."""
        self.kill_at = min(self.kill_at, min(requested_at, self.trust_ends_at) + self.grace_period)
        if not self.stopping:
            self.stopping = True
            self.signal_group(signal.SIGTERM)
            self.signal_group(signal.SIGCONT)  # one that is held still could not end

    def handle_parent_exit(self, fd: int) -> None:
        """The controller is dead: whatever runs has no master any more."""
        self.poller.unregister(fd)
        self.stopping, self.kill_at = True, LONG_AGO

    # --- the command

    def spawn(self) -> None:
        """Start the command as the leader of a session of its own."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # whatever of it loses its own parent becomes our child
        own_pid = os.getpid()
        self.launch_error_fd, error_fd = os.pipe()
        self.command_pid = os.fork()
        if not self.command_pid:
            exec_command(self, own_pid, error_fd)
        os.close(error_fd)
        devnull = os.open(os.devnull, os.O_RDWR)
        for fd in (1, 2):  # the command's now: their readers wait for the end of file
            os.dup2(devnull, fd)
        os.read(self.launch_error_fd, 1)  # it leads its group from here on, or is dead

    def reap(self) -> None:
        """Take note of every child's end, the command's and that of orphans."""
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if reaped[0] == self.command_pid:
                    self.command_exited = True
                    self.report_exit(os.waitstatus_to_exitcode(reaped[1]))
        except ChildProcessError:
            return

    def report_exit(self, exit_code: int) -> None:
        """Say how the command ended. What it leaves behind may stay only where it has done its work."""
        launch_error = os.read(self.launch_error_fd, 100).decode()
        self.write_status(f"unable {launch_error}" if launch_error else f"ended {exit_code}")
        if exit_code:
            self.stop(clock())

    def signal_remaining(self) -> None:
        """End what has to end by now, and ask those that have left the group as soon as they are ours."""
        if clock() >= self.kill_at:
            self.signal_group(signal.SIGKILL)
            for pid in list_children():
                send_signal(pid, signal.SIGKILL)
        elif self.stopping and self.command_exited:
            for pid in set(list_children()) - self.terminated_pids:
                self.terminated_pids.add(pid)
                if os.getpgid(pid) != self.command_pid:
                    send_signal(pid, signal.SIGTERM)

    def signal_group(self, signum: int) -> None:
        """Signal the group, but never again once it is empty: its number may be another's by then."""
        if not self.group_gone:
            try:
                os.killpg(self.command_pid, signum)
            except ProcessLookupError:
                self.group_gone = True
            except PermissionError:  # none of those left is ours to signal; they still run
                return

    def all_processes_gone(self) -> bool:
        """Whether nothing of the command runs any more, as far as that can be seen."""
        if self.command_exited:
            self.signal_group(0)
        return self.command_exited and self.group_gone and not list_children()


def exec_command(shim: Shim, parent_pid: int, error_fd: int) -> NoReturn:
    """Be the command, in the fork that was made for it; say why not in ``write_status``, which a success closes.

    The controller hears of the process before anything of the command runs, so that it can end the group even if
    the shim is killed the moment after.
    """
    request, failed_part = shim.request, "command"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signum, signal.SIG_DFL)
        shim.write_status(f"started {os.getpid()}")
        os.write(error_fd, b".")  # from here on no signal to the group is lost
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if request.directory is not None:
            failed_part = "directory"
            os.chdir(request.directory)
            failed_part = "command"
        os.execvpe(request.argv[0], request.argv, request.environment)  # noqa: S606 - whoever deploys us names it
    except OSError as error:
        os.write(error_fd, f"{failed_part} {error.errno}".encode())
    finally:
        os._exit(127)


def prctl(option: int, value: int) -> None:
    """Call Linux's ``prctl``; nothing where there is none."""
    try:
        import ctypes  # noqa: PLC0415 - a Python may be built without, and the controller has no need of it

        ctypes.CDLL(None).prctl(option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0)))
    except (ImportError, AttributeError, OSError):
        return


def list_children() -> list[int]:
    """Return the children that we have now; none where the system does not tell."""
    own_pid = os.getpid()
    try:
        with open(f"/proc/self/task/{own_pid}/children", "rb") as file:  # noqa: PTH123 - pathlib would be slow to load
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def send_signal(pid: int, signum: int) -> None:
    """Signal a child of ours, which was not reaped yet, so that its number is still its own."""
    try:
        os.kill(pid, signum)
    except OSError:
        return


def read_exactly(count: int) -> bytes:
    """Return that many bytes of the standard input, or fewer at its end."""
    data = b""
    while len(data) < count and (more := os.read(0, count - len(data))):
        data += more
    return data


def main() -> None:
    """Take the order and carry it out; without one, the controller has thought better of it."""
    status_fd = int(sys.argv[1])
    os.set_inheritable(status_fd, False)
    length = int.from_bytes(read_exactly(8), "little")
    data = read_exactly(length)
    if length and len(data) == length:
        Shim(LaunchRequest(*marshal.loads(data)), status_fd).run()  # noqa: S302 - it comes from the controller alone


if __name__ == "__main__":
    main()
