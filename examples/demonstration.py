"""What `make run` and `make run-kube` have in common: processes that run until Ctrl-C, replaced when they die."""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.election.timing import duration
from masterjob.election.views import Event
from masterjob.store.database import Database

ROOT = Path(__file__).parent.parent
REPLACED_AFTER = 5.0
FIRST_MASTER_WITHIN = 60.0
FIRST_PORT = 3000

Process = subprocess.Popen[bytes]


# --- when it ends


class Ending:
    """Ctrl-C, SIGTERM and a closed terminal: each asks for the end.

    They are only noted. An exception could come anywhere, also in the middle of the end, and Python loses one that
    is raised where nobody can catch it, as in a callback of its garbage collector.
    """

    def __init__(self) -> None:
        self.asked = False
        self._breaks_off = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self._break_off()

    def _break_off(self) -> None:
        if self.asked and self._breaks_off:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def breaks_off(self) -> Iterator[None]:
        """Have them break off what is done meanwhile, by KeyboardInterrupt."""
        try:
            self._breaks_off = True
            self._break_off()
            yield
        except Exception:
            if not self.asked:
                raise
            raise KeyboardInterrupt from None  # Ctrl-C has also ended what was waited for, like kubectl
        finally:
            self._breaks_off = False


def seconds_of(text: str) -> float:
    """Return the seconds to run. A bare number would be milliseconds, which nobody means here.

    Raises:
        SettingError: it has no unit, or is no duration.
    """
    if text.strip().replace(".", "", 1).isdecimal():
        raise SettingError(f"FOR={text} has no unit: write FOR={text}s for seconds, or FOR={text}m for minutes")
    return duration(text)


# --- one at a time


class OnlyRun:
    """The only run of its kind in this clone: a locked file.

    The processes of the run inherit the lock. So it is held until the last of them has ended, also where whoever
    started them was killed; a second run beside them would be a second election about the same lock.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with self._file:
                self._file.seek(0)
                sys.exit(_taken(name, [int(pid) for pid in self._file.read().split()]))
        self.note(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def note(self, pids: Sequence[int]) -> None:
        """Write down who holds it, for the next run to say."""
        self._file.truncate(0)
        self._file.write(" ".join(map(str, (os.getpid(), *pids))))
        self._file.flush()


def _taken(name: str, pids: Sequence[int]) -> str:
    if not pids or _lives(pids[0]):
        return f"{name} is running already{f' (pid {pids[0]})' if pids else ''}: end it with Ctrl-C"
    living = " ".join(str(pid) for pid in pids[1:] if _lives(pid))
    return f"{name} was killed, and what it had started still runs: end that with kill {living}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_ports(count: int, first: int = FIRST_PORT) -> list[int]:
    """Return the first ports that nobody listens on."""
    found: list[int] = []
    port = first
    while len(found) < count:
        if _is_free(port):
            found.append(port)
        port += 1
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections count not
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# --- what runs


@dataclass(frozen=True, slots=True)
class Command:
    """What to start, and what it finds in its environment beside ours."""

    words: Sequence[str]
    environment: Mapping[str, str]


class Masters:
    """Says who became master, at every election."""

    def __init__(self, url: str, *locks: str) -> None:
        self._board = Database(url).switchboard()
        self._told = dict.fromkeys(locks, 0)

    def tell(self) -> bool:
        """Say who became master since the last time; return whether there was ever one."""
        for lock in self._told:
            for event in reversed(self._events(lock)):
                if event.kind == "elected" and event.term and event.instance and event.term > self._told[lock]:
                    self._told[lock] = event.term
                    pid = event.instance.rsplit("-", 2)[-2]
                    print(f"master of {lock}: {event.instance} (pid {pid})", flush=True)
        return any(self._told.values())

    def _events(self, lock: str) -> list[Event]:
        try:
            return self._board.history(lock)
        except StoreUnavailable:
            return []  # there are no tables yet; or it is busy: next time


class Deployment:
    """Processes by name, each replaced some time after it has died. ``ended`` says that it has, to people."""

    def __init__(self, only: OnlyRun, command: Callable[[str], Command], ended: str) -> None:
        self._only = only
        self._command = command
        self._ended = ended
        self._processes: dict[str, Process] = {}
        self._died_at: dict[str, float] = {}

    def run(self, names: Sequence[str], seconds: float, ending: Ending, look: Callable[[], bool]) -> None:
        """Have them run for so many seconds from the first master on, which ``look`` sees; 0 is until Ctrl-C."""
        latest, until = time.monotonic() + FIRST_MASTER_WITHIN, float("inf")
        try:
            while not ending.asked and time.monotonic() < until:
                for name in names:
                    self._look_after(name)
                counts = look() or time.monotonic() > latest
                if seconds and counts and until == float("inf"):
                    until = time.monotonic() + seconds
                time.sleep(0.1)
        finally:
            if ending.asked:
                print(flush=True)  # after the ^C of the terminal
            self._end()

    def _look_after(self, name: str) -> None:
        process = self._processes.get(name)
        if process is None:
            self._start(name)
        elif process.poll() is not None and name not in self._died_at:
            self._died_at[name] = time.monotonic()
            ended = self._ended.format(name=name, pid=process.pid)
            print(f"   {ended} in {REPLACED_AFTER:.0f} s", flush=True)
        elif name in self._died_at and time.monotonic() > self._died_at[name] + REPLACED_AFTER:
            del self._died_at[name]
            self._start(name)

    def _start(self, name: str) -> None:
        """In a process group of its own: the terminal's Ctrl-C is for us, and a second signal would be deadly."""
        command = self._command(name)
        self._processes[name] = Process(
            command.words,
            cwd=ROOT,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            process_group=0,
            pass_fds=[self._only.descriptor],
        )
        self._only.note([process.pid for process in self._processes.values()])

    def _end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What `demonstration` has found out and set up."""

    only: OnlyRun
    ending: Ending
    seconds: float

    def run(self, names: Sequence[str], command: Callable[[str], Command], ended: str, masters: Masters) -> None:
        """Have these run for as long as it shall last."""
        Deployment(self.only, command, ended).run(names, self.seconds, self.ending, masters.tell)


@contextlib.contextmanager
def demonstration(name: str, what: str | None, folder: Path) -> Iterator[Demonstration]:
    """Set up the only run of this name, with a folder that begins empty and ends with it."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--for", dest="seconds", default="0s", help="end by itself, like 20s")
    typed = parser.parse_args()
    try:
        seconds = seconds_of(typed.seconds)
    except SettingError as error:
        sys.exit(str(error))
    with OnlyRun(name, folder.with_name(f"{folder.name}.lock")) as only:
        ending = Ending()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                yield Demonstration(only, ending, seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
