"""The shim: a separate process that starts one command and ends it when its master's trust ends.

It runs as a script (``python -I -S shim.py STATUS LOCK``) and imports only a few modules of the standard library.
So it starts in about 20 ms, and a freeze or crash of the controller does not affect it. It reads from its standard
input, which only the controller can write to:

    8 bytes, the length of the launch request, then the request (see `LaunchRequest`)
    end SECONDS     the trust's new end, by CLOCK_BOOTTIME
    stop SECONDS    stop the command; the stop was requested at that time
    grace SECONDS   the new grace period; without effect once the command is being stopped

and it writes lines to the file descriptor STATUS:

    started PID             the process of the command, which leads a new session and process group
    running                 it runs the command now
    unable WHAT ERRNO       the command could not be started: WHAT is command or directory
    ended CODE              the command's exit code, or minus the signal that ended it
    overdue                 the trust has ended without a stop request
    gone                    no process of the command runs any more

On a stop, or at the end of the trust, the command's process group gets SIGTERM, and SIGKILL after
``grace_period``, which is still before the end of the lease. When the controller is dead (end of file, or its
process is gone), the group gets SIGKILL at once, because its lease may be evicted at once too.

On Linux, the shim adopts the command's orphans, so it also ends processes that have left the group; and the
command's process gets SIGKILL if the shim itself is killed (`leftovers.py` kills the others). If the controller
has created a cgroup for the command, the shim ends all that runs in it. On other systems only the group is ended.
Without a cgroup, the shim cannot end a process that changed to a user whom it may not signal (it then never
reports gone), or a process outside the group that forks faster than the shim can kill. It can end nothing while it
is frozen itself, as with its machine.

It changes its own command line to ``job-shim LOCK``, so that a search for ``masterjob`` finds controllers only.
"""

import marshal
import os
import select
import signal
import sys
import time
from typing import NamedTuple, NoReturn

MAX_POLL_TIMEOUT = 0.5
"""The longest wait, in seconds. Waits do not count the time that the machine sleeps, but our clock does."""

STOPPING_POLL_TIMEOUT = 0.02
"""Seconds between two checks while the command is being stopped."""

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
ARG_START = 45
"""The position of the command line's address in ``/proc/self/stat``, counted from the state."""
CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
NEVER, LONG_AGO = float("inf"), float("-inf")


def clock() -> float:
    """Return the same seconds as `masterjob.concurrency.clock.clock`."""
    return time.clock_gettime(CLOCK_ID)


class LaunchRequest(NamedTuple):
    """What to run, and until when. It is sent as a plain tuple by ``marshal``: both ends use one interpreter."""

    argv: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    directory: bytes | None
    grace_period: float
    """Seconds between SIGTERM and SIGKILL."""
    trust_ends_at: float
    parent_pid: int
    cgroup: bytes | None = None
    """The directory of the command's own cgroup, if it has one."""


class Shim:
    """The supervisor of one command."""

    def __init__(self, request: LaunchRequest, status_fd: int) -> None:
        self.request = request
        self.status_fd = status_fd
        self.trust_ends_at = request.trust_ends_at
        self.grace_period = request.grace_period
        self.kill_at = NEVER
        self.stopping = False
        self.command_exited = False
        self.group_gone = False
        self.launch_error: str | None = None
        """Why the command could not be started; empty if it was, None as long as that is not known."""
        self.terminated_pids: set[int] = set()  # processes outside the group that got SIGTERM
        self.partial_line = b""
        self.poller = select.poll()
        self.poller.register(0)

    def run(self) -> None:
        """Start the command, unless the trust has ended, and return when none of its processes runs any more."""
        self.watch_parent()
        self.watch_children()
        if clock() >= self.trust_ends_at:
            self.write_status("overdue")
        else:
            self.spawn()
            while not self.all_processes_gone():
                self.poll_once()
        self.remove_cgroup()
        self.write_status("gone")

    def write_status(self, status: str) -> None:
        """Write a line to the controller. If that fails, the controller is dead."""
        try:
            os.write(self.status_fd, f"{status}\n".encode())
        except OSError:
            self.kill_at = LONG_AGO

    # --- the event loop

    def watch_parent(self) -> None:
        """Detect the controller's death, even if a fork of it holds our standard input open."""
        try:
            self.parent_pidfd = os.pidfd_open(self.request.parent_pid)
        except (AttributeError, OSError):  # not Linux; or the controller is dead, which is checked below
            self.parent_pidfd = -1
        else:
            self.poller.register(self.parent_pidfd, select.POLLIN)
        if os.getppid() != self.request.parent_pid:
            self.trust_ends_at = LONG_AGO

    def watch_children(self) -> None:
        """Make SIGCHLD end the poll, and ignore signals that would end the shim: only the controller ends it."""
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
        """Wait for the next event or deadline, and act on it."""
        for fd, _ in self.poller.poll(self.poll_timeout() * 1000):
            if fd == 0:
                self.read_messages()
            elif fd == self.wakeup_fd:
                os.read(self.wakeup_fd, 4096)
            elif fd == self.launch_error_fd:
                self.read_launch_error()
            else:
                self.handle_parent_exit(fd)
        self.reap()
        if not self.stopping and clock() >= self.trust_ends_at:
            self.write_status("overdue")
            self.stop(self.trust_ends_at)
        self.signal_remaining()

    def poll_timeout(self) -> float:
        """Return the seconds until the next check."""
        return (
            STOPPING_POLL_TIMEOUT
            if self.stopping
            else min(MAX_POLL_TIMEOUT, max(0.0, self.trust_ends_at - clock()))
        )

    # --- the controller's messages

    def read_messages(self) -> None:
        """Handle the lines that have arrived. The last one may be incomplete."""
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
        """Send SIGTERM to the group, and set the time of its SIGKILL."""
        self.kill_at = min(self.kill_at, min(requested_at, self.trust_ends_at) + self.grace_period)
        if not self.stopping:
            self.stopping = True
            self.signal_group(signal.SIGTERM)
            self.signal_group(signal.SIGCONT)  # a suspended process could not end

    def handle_parent_exit(self, fd: int) -> None:
        """Kill everything at once: the controller is dead, so the command has no master any more."""
        self.poller.unregister(fd)
        self.stopping, self.kill_at = True, LONG_AGO

    # --- the command

    def spawn(self) -> None:
        """Start the command as the leader of a new session."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # the command's orphans become our children
        own_pid = os.getpid()
        self.launch_error_fd, error_fd = os.pipe()
        self.command_pid = os.fork()
        if not self.command_pid:
            exec_command(self, own_pid, error_fd)
        os.close(error_fd)
        devnull = os.open(os.devnull, os.O_RDWR)
        for fd in (1, 2):  # these are the command's now: their readers wait for the end of file
            os.dup2(devnull, fd)
        os.read(self.launch_error_fd, 1)  # from here on it leads its group, or is dead
        self.poller.register(self.launch_error_fd, select.POLLIN)

    def read_launch_error(self) -> None:
        """Report that the command runs, unless its process has written why it cannot."""
        self.poller.unregister(self.launch_error_fd)
        self.launch_error = os.read(self.launch_error_fd, 100).decode()
        if not self.launch_error:
            self.write_status("running")

    def reap(self) -> None:
        """Reap all children that have ended: the command and adopted orphans."""
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if reaped[0] == self.command_pid:
                    self.command_exited = True
                    self.report_exit(os.waitstatus_to_exitcode(reaped[1]))
        except ChildProcessError:
            return

    def report_exit(self, exit_code: int) -> None:
        """Report how the command ended. After a failure, stop the processes that it has left behind."""
        if self.launch_error is None:
            self.read_launch_error()
        self.write_status(f"unable {self.launch_error}" if self.launch_error else f"ended {exit_code}")
        if exit_code:
            self.stop(clock())

    def signal_remaining(self) -> None:
        """Send the signals that are due. Our children include processes of the command that left its group."""
        if clock() >= self.kill_at:
            self.kill_cgroup()
            self.signal_group(signal.SIGKILL)
            for pid in list_children():
                send_signal(pid, signal.SIGKILL)
        elif self.stopping and self.command_exited:
            for pid in set(list_children()) - self.terminated_pids:
                self.terminated_pids.add(pid)
                if os.getpgid(pid) != self.command_pid:
                    send_signal(pid, signal.SIGTERM)

    def signal_group(self, signum: int) -> None:
        """Signal the group, but never again once it is empty: its id may be reused by then."""
        if not self.group_gone:
            try:
                os.killpg(self.command_pid, signum)
            except ProcessLookupError:
                self.group_gone = True
            except PermissionError:  # we may signal none of its processes, but they still run
                return

    def all_processes_gone(self) -> bool:
        """Return whether no process of the command is known to run any more."""
        if self.command_exited:
            self.signal_group(0)
        return self.command_exited and self.group_gone and not list_children() and not self.cgroup_is_populated()

    # --- the command's cgroup

    def kill_cgroup(self) -> None:
        """Kill all that runs in the cgroup, whichever user it belongs to."""
        if self.request.cgroup is not None:
            write_file(self.request.cgroup + b"/cgroup.kill", b"1")

    def cgroup_is_populated(self) -> bool:
        """Return whether a process runs in the cgroup."""
        if self.request.cgroup is None:
            return False
        try:
            with open(self.request.cgroup + b"/cgroup.events", "rb") as file:  # noqa: PTH123 - as in list_children
                return b"populated 1" in file.read()
        except OSError:
            return False

    def remove_cgroup(self) -> None:
        """Remove the cgroup; a living controller would do it too."""
        if self.request.cgroup is not None:
            try:
                os.rmdir(self.request.cgroup)  # noqa: PTH106 - as in list_children
            except OSError:
                return


def exec_command(shim: Shim, parent_pid: int, error_fd: int) -> NoReturn:
    """Replace the forked process by the command. A failure is written to ``error_fd``; a success closes it.

    The process is reported before the command runs, so that the controller can kill the group even if the shim is
    killed right after that.
    """
    request, failed_part = shim.request, "command"
    try:
        os.setsid()
        if request.cgroup is not None:
            write_file(request.cgroup + b"/cgroup.procs", b"0")
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
        os.execvpe(request.argv[0], request.argv, request.environment)  # noqa: S606 - the config file names it
    except OSError as error:
        os.write(error_fd, f"{failed_part} {error.errno}".encode())
    finally:
        os._exit(127)


def prctl(option: int, value: int) -> None:
    """Call Linux's ``prctl``. Do nothing on other systems."""
    try:
        import ctypes  # noqa: PLC0415 - Python may be built without it, and the controller does not need it

        ctypes.CDLL(None).prctl(option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0)))
    except (ImportError, AttributeError, OSError):
        return


def set_command_line(text: str) -> None:
    """Overwrite our command line, as far as it is long enough, and the name of our process. Only on Linux."""
    try:
        import ctypes  # noqa: PLC0415 - as in prctl

        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - as in list_children
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_START + 1])
        length = max(0, end - start - 1)  # the last byte stays 0: else the kernel reads on into the environment
        if start:
            ctypes.memmove(start, text.encode()[:length].ljust(length, b"\0"), length)
        ctypes.CDLL(None).prctl(PR_SET_NAME, b"job-shim")
    except (ImportError, AttributeError, OSError):
        return


def write_file(path: bytes, data: bytes) -> None:
    """Write to a file of the kernel, if it is there and we may."""
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
    except OSError:
        return


def list_children() -> list[int]:
    """Return the pids of our children; none if the system does not list them."""
    own_pid = os.getpid()
    try:
        with open(f"/proc/self/task/{own_pid}/children", "rb") as file:  # noqa: PTH123 - pathlib would be slow to load
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def send_signal(pid: int, signum: int) -> None:
    """Signal one of our children. It is not reaped yet, so its pid cannot have been reused."""
    try:
        os.kill(pid, signum)
    except OSError:
        return


def read_exactly(count: int) -> bytes:
    """Read ``count`` bytes from the standard input, or fewer if it ends before."""
    data = b""
    while len(data) < count and (more := os.read(0, count - len(data))):
        data += more
    return data


def main() -> None:
    """Read the launch request and run it. Without a request, the controller has cancelled the launch."""
    status_fd = int(sys.argv[1])
    os.set_inheritable(status_fd, False)
    set_command_line(f"job-shim {sys.argv[2]}")
    length = int.from_bytes(read_exactly(8), "little")
    data = read_exactly(length)
    if length and len(data) == length:
        Shim(LaunchRequest(*marshal.loads(data)), status_fd).run()  # noqa: S302 - only the controller can send it


if __name__ == "__main__":
    main()
