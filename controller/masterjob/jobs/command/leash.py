"""The controller's end of a keeper (``keeper.py``): start it, tell it how long the trust lasts, hear from it."""

import contextlib
import marshal
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from masterjob.election.clock import clock
from masterjob.jobs.command.keeper import Order

_KEEPER = Path(__file__).with_name("keeper.py")
_STEP = 0.01  # seconds that the trust's end must have moved by to be told again


class Leash:
    """One keeper that runs. `extend`, `stop` and `let_go` may be called from any thread, and never block."""

    def __init__(self, process: subprocess.Popen[bytes], control: IO[bytes], news: int) -> None:
        self._process = process
        self._control = control
        self._news = news
        self._unread = b""
        self._told_end = 0.0
        self._lock = threading.Lock()
        self.group: int | None = None
        """The command's process group, once it is known."""

    @classmethod
    def launch(cls, name: str) -> "Leash":
        """Start a keeper that shows itself under this name; it starts nothing before it gets its order.

        Raises:
            OSError: it cannot be started.
        """
        news, tell = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable or "python3", "-I", "-S", str(_KEEPER), str(tell), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(tell,),
                start_new_session=True,
            )
        except BaseException:
            os.close(news)
            raise
        finally:
            os.close(tell)
        return cls(process, cast("IO[bytes]", process.stdin), news)

    @property
    def outputs(self) -> tuple[IO[bytes], IO[bytes]]:
        """The command's standard output and standard error; whoever reads them closes them."""
        return cast("IO[bytes]", self._process.stdout), cast("IO[bytes]", self._process.stderr)

    def order(self, order: Order) -> None:
        """Have the command started. Nothing of that is reported if the keeper has been let go of."""
        data = marshal.dumps(tuple(order))
        message = memoryview(len(data).to_bytes(8, "little") + data)
        with contextlib.suppress(OSError, ValueError):  # its end is seen in the news
            while message:  # a large environment takes several writes
                message = message[self._control.write(message) or 0 :]
            os.set_blocking(self._control.fileno(), False)

    def extend(self, trust_left: Callable[[], float]) -> float:
        """Tell the keeper the trust's end if that has moved; return the seconds that are left."""
        now = clock()  # before the trust is asked for: after a pause between the two, the end is early, never late
        left = trust_left()
        if left > 0 and abs(now + left - self._told_end) > _STEP:
            self._told_end = now + left
            self._say(f"end {self._told_end!r}\n")
        return left

    def stop(self, at: float) -> None:
        """Have the command stopped, as asked for at the local time ``at``."""
        if not self._say(f"stop {at!r}\n"):
            self.let_go()

    def be_patient(self, seconds: float) -> None:
        """Have so long pass from SIGTERM to SIGKILL; where that cannot be told, all ends now."""
        if not self._say(f"patience {seconds!r}\n"):
            self.let_go()

    def let_go(self) -> None:
        """Close the pipe: what still runs is killed at once."""
        with self._lock:
            self._control.close()

    def _say(self, line: str) -> bool:
        """Write one line; False if the keeper cannot take it, being dead or frozen for long."""
        with self._lock:
            try:
                return not self._control.closed and bool(self._control.write(line.encode()))
            except OSError:
                return False

    def next_news(self, timeout: float | None) -> str | None:
        """Return the keeper's next line; nothing in it when ``timeout`` seconds are over, None at the end."""
        while b"\n" not in self._unread:
            if not select_one(self._news, timeout):
                return ""
            data = os.read(self._news, 4096)
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def reap(self) -> None:
        """End whatever still runs, wait for the keeper's own end, and give back what it took but its outputs."""
        self.let_go()
        self._process.wait()
        os.close(self._news)


def select_one(fd: int, timeout: float | None) -> bool:
    """Wait until there is something to read, at most ``timeout`` seconds; return whether there is."""
    poll = select.poll()  # select() itself cannot do with numbers from 1,024 on
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def end_group(group: int) -> None:
    """Do what a keeper that was killed cannot do any more; return when nothing of the group runs."""
    pause = threading.Event()
    while _runs(group):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        pause.wait(0.02)


def _runs(group: int) -> bool:
    """Tell whether the group has processes that are not dead: in a container, dead ones may stay for good."""
    if not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 0)
            return True
        return False
    return any(_stat(path)[2:3] == [str(group)] for path in Path("/proc").glob("[0-9]*/stat"))


def _stat(path: Path) -> list[str]:
    """Return what /proc says of a process after its name (state, parent, group, ...); nothing of a dead one."""
    try:
        words = path.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return words if words[0] not in "ZX" else []
