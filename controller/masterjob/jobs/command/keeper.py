"""The keeper: a process of its own that starts one command and ends it when its master's trust ends.

It is run as a script (``python -I -S keeper.py STATUS LOCK``) and imports nothing but a little of the standard
library, so that it is there in some 20 ms and no freeze or crash of the controller is its own. It reads from its
standard input, which only the controller can write to:

    8 bytes, the length of an order, and the order (see `Order`)
    end SECONDS     the trust's end now, by CLOCK_BOOTTIME
    stop SECONDS    stop the command; it was asked for at that time
    patience SECONDS  what the order says of it is this from now on, unless the command was asked to end already

and it writes lines to the file descriptor STATUS:

    started PID             the command's process, and the group and session that it leads
    unable WHAT ERRNO       it could not be started: WHAT is command or directory
    ended CODE              the command's exit code, or minus the signal that ended it
    overdue                 the trust's end has passed and nobody has said stop
    gone                    nothing of the command runs any more

Stopped, or with the trust's end passed, the command's group gets SIGTERM, and SIGKILL as soon as ``patience`` is
over: that still lies before the end of the lease. When the controller is dead (end of file, or its process is
gone) the group gets SIGKILL at once: its lease may be evicted at once too.

Where Linux lets it, the keeper adopts the orphans of the command, and ends those too that have left the group;
and the command's process gets SIGKILL when the keeper itself is killed. Elsewhere only the group is ended. What
the keeper cannot do: end a process that changed to a user whom we may not signal (it then never says gone), outrun
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

SLICE = 0.5
"""Seconds that a wait lasts at most: a wait does not count the time that the machine sleeps, our clock does."""

BUSY = 0.02
"""Seconds between looks while the command is being ended."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
NEVER, LONG_AGO = float("inf"), float("-inf")


def clock() -> float:
    """Return the same seconds as `masterjob.election.clock`."""
    return time.clock_gettime(CLOCK)


class Order(NamedTuple):
    """What to run, and until when. It travels as a plain tuple, by ``marshal``: both ends are one interpreter."""

    argv: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    directory: bytes | None
    patience: float
    """Seconds between SIGTERM and SIGKILL."""
    end: float
    parent: int


class Keeper:
    """One command and its end."""

    def __init__(self, order: Order, status: int) -> None:
        self.order = order
        self.status = status
        self.end = order.end
        self.allowed = order.patience
        self.kill_at = NEVER
        self.stopping = False
        self.ended = False
        self.group_gone = False
        self.asked: set[int] = set()  # those outside the group that got their SIGTERM
        self.line = b""
        self.poll = select.poll()
        self.poll.register(0)

    def run(self) -> None:
        """Start the command, unless it is too late for that, and stay until nothing of it runs any more."""
        self.watch_parent()
        self.watch_children()
        if clock() >= self.end:
            self.tell("overdue")
        else:
            self.spawn()
            while not self.alone():
                self.look()
        self.tell("gone")

    def tell(self, news: str) -> None:
        """Write a line to the controller, which may be dead by now."""
        try:
            os.write(self.status, f"{news}\n".encode())
        except OSError:
            self.kill_at = LONG_AGO

    # --- what wakes it up

    def watch_parent(self) -> None:
        """Notice the controller's death even where a fork of its holds our standard input open."""
        try:
            self.parent = os.pidfd_open(self.order.parent)
        except (AttributeError, OSError):  # not Linux; or it is dead, which the next line sees
            self.parent = -1
        else:
            self.poll.register(self.parent, select.POLLIN)
        if os.getppid() != self.order.parent:
            self.end = LONG_AGO

    def watch_children(self) -> None:
        """Have SIGCHLD wake the poll up, and be told to end by nobody but the controller."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        self.wake, writer = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.poll.register(self.wake, select.POLLIN)

    def look(self) -> None:
        """Wait for whatever comes first, and do what is due."""
        for fd, _ in self.poll.poll(self.patience() * 1000):
            if fd == 0:
                self.read_orders()
            elif fd == self.wake:
                os.read(self.wake, 4096)
            else:
                self.orphaned(fd)
        self.reap()
        if not self.stopping and clock() >= self.end:
            self.tell("overdue")
            self.stop(self.end)
        self.chase()

    def patience(self) -> float:
        """Return how many seconds may pass before the next look."""
        return BUSY if self.stopping else min(SLICE, max(0.0, self.end - clock()))

    # --- what it is told

    def read_orders(self) -> None:
        """Take what has come over the pipe; the last line may still lack its end."""
        data = os.read(0, 65536)
        if not data:
            self.orphaned(0)
            return
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            word, seconds = line.split()
            if word == b"stop":
                self.stop(float(seconds))
            elif not self.stopping and word == b"patience":
                self.allowed = float(seconds)
            elif not self.stopping:
                self.end = float(seconds)

    def stop(self, since: float) -> None:
        """Ask the group to end, and set when it is made to."""
        self.kill_at = min(self.kill_at, min(since, self.end) + self.allowed)
        if not self.stopping:
            self.stopping = True
            self.signal_group(signal.SIGTERM)
            self.signal_group(signal.SIGCONT)  # one that is held still could not end

    def orphaned(self, fd: int) -> None:
        """The controller is dead: whatever runs has no master any more."""
        self.poll.unregister(fd)
        self.stopping, self.kill_at = True, LONG_AGO

    # --- the command

    def spawn(self) -> None:
        """Start the command as the leader of a session of its own."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # whatever of it loses its own parent becomes our child
        me = os.getpid()
        self.problem, tell = os.pipe()
        self.command = os.fork()
        if not self.command:
            become(self, me, tell)
        os.close(tell)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (1, 2):  # the command's now: their readers wait for the end of file
            os.dup2(nowhere, fd)
        os.read(self.problem, 1)  # it leads its group from here on, or is dead

    def reap(self) -> None:
        """Take note of every child's end, the command's and that of orphans."""
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.command:
                    self.ended = True
                    self.tell_end(os.waitstatus_to_exitcode(found[1]))
        except ChildProcessError:
            return

    def tell_end(self, code: int) -> None:
        """Say how the command ended. What it leaves behind may stay only where it has done its work."""
        problem = os.read(self.problem, 100).decode()
        self.tell(f"unable {problem}" if problem else f"ended {code}")
        if code:
            self.stop(clock())

    def chase(self) -> None:
        """End what has to end by now, and ask those that have left the group as soon as they are ours."""
        if clock() >= self.kill_at:
            self.signal_group(signal.SIGKILL)
            for pid in adopted():
                send(pid, signal.SIGKILL)
        elif self.stopping and self.ended:
            for pid in set(adopted()) - self.asked:
                self.asked.add(pid)
                if os.getpgid(pid) != self.command:
                    send(pid, signal.SIGTERM)

    def signal_group(self, number: int) -> None:
        """Signal the group, but never again once it is empty: its number may be another's by then."""
        if not self.group_gone:
            try:
                os.killpg(self.command, number)
            except ProcessLookupError:
                self.group_gone = True
            except PermissionError:  # none of those left is ours to signal; they still run
                return

    def alone(self) -> bool:
        """Whether nothing of the command runs any more, as far as that can be seen."""
        if self.ended:
            self.signal_group(0)
        return self.ended and self.group_gone and not adopted()


def become(keeper: Keeper, parent: int, tell: int) -> NoReturn:
    """Be the command, in the fork that was made for it; say why not in ``tell``, which a success closes.

    The controller hears of the process before anything of the command runs, so that it can end the group even if
    the keeper is killed the moment after.
    """
    order, what = keeper.order, "command"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        keeper.tell(f"started {os.getpid()}")
        os.write(tell, b".")  # from here on no signal to the group is lost
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if order.directory is not None:
            what = "directory"
            os.chdir(order.directory)
            what = "command"
        os.execvpe(order.argv[0], order.argv, order.environment)  # noqa: S606 - whoever deploys us names it
    except OSError as error:
        os.write(tell, f"{what} {error.errno}".encode())
    finally:
        os._exit(127)


def prctl(option: int, value: int) -> None:
    """Call Linux's ``prctl``; nothing where there is none."""
    try:
        import ctypes  # noqa: PLC0415 - a Python may be built without, and the controller has no need of it

        ctypes.CDLL(None).prctl(option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0)))
    except (ImportError, AttributeError, OSError):
        return


def adopted() -> list[int]:
    """Return the children that we have now; none where the system does not tell."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", "rb") as file:  # noqa: PTH123 - pathlib would be slow to load
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def send(pid: int, number: int) -> None:
    """Signal a child of ours, which was not reaped yet, so that its number is still its own."""
    try:
        os.kill(pid, number)
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
    status = int(sys.argv[1])
    os.set_inheritable(status, False)
    length = int.from_bytes(read_exactly(8), "little")
    data = read_exactly(length)
    if length and len(data) == length:
        Keeper(Order(*marshal.loads(data)), status).run()  # noqa: S302 - it comes from the controller alone


if __name__ == "__main__":
    main()
