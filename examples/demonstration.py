"""The common part of `make run` and `make run-kube`: processes that run until Ctrl-C, replaced when they die."""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from masterjob.election.timing import parse_duration
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.lock_status import HistoryEvent
from masterjob.store.database import Database

ROOT = Path(__file__).parent.parent
RESTART_DELAY = 5.0
FIRST_MASTER_TIMEOUT = 60.0
FIRST_PORT = 3000

Process = subprocess.Popen[bytes]


# --- the end


class ShutdownSignals:
    """Ctrl-C, SIGTERM and a closed terminal: each requests the end.

    The handler only sets a flag. An exception could be raised anywhere, even during the shutdown, and Python drops
    an exception that nothing can catch, as in a callback of the garbage collector.
    """

    def __init__(self) -> None:
        self.requested = False
        self._is_interruptible = False
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # nohup
                signal.signal(signum, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._interrupt_if_requested()

    def _interrupt_if_requested(self) -> None:
        if self.requested and self._is_interruptible:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Interrupt the body with KeyboardInterrupt when a signal arrives."""
        try:
            self._is_interruptible = True
            self._interrupt_if_requested()
            yield
        except Exception:
            if not self.requested:
                raise
            raise KeyboardInterrupt from None  # Ctrl-C also ended a child process, such as kubectl
        finally:
            self._is_interruptible = False


def parse_seconds(text: str) -> float:
    """Return the seconds to run. A number without a unit would mean milliseconds, which is never intended here.

    Raises:
        SettingError: ``text`` has no unit, or is not a valid duration.
    """
    if text.strip().replace(".", "", 1).isdecimal():
        raise SettingError(f"FOR={text} has no unit: write FOR={text}s for seconds, or FOR={text}m for minutes")
    return parse_duration(text)


# --- one run at a time


class RunLock:
    """A locked file that allows one run of its kind in this clone.

    The processes of the run inherit the lock. So it is held until the last of them has ended, even if the process
    that started them was killed; a second run beside them would be a second election for the same lock.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with self._file:
                self._file.seek(0)
                sys.exit(_describe_conflict(name, [int(pid) for pid in self._file.read().split()]))
        self.record_pids(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def record_pids(self, pids: Sequence[int]) -> None:
        """Write the pids of the holders, which a second run prints."""
        self._file.truncate(0)
        self._file.write(" ".join(map(str, (os.getpid(), *pids))))
        self._file.flush()


def _describe_conflict(name: str, pids: Sequence[int]) -> str:
    if not pids or _is_alive(pids[0]):
        return f"{name} is already running{f' (pid {pids[0]})' if pids else ''}: end it with Ctrl-C"
    live_pids = " ".join(str(pid) for pid in pids[1:] if _is_alive(pid))
    return f"{name} was killed, but processes that it started still run: end them with kill {live_pids}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_ports(count: int, first: int = FIRST_PORT) -> list[int]:
    """Return the first free ports."""
    ports: list[int] = []
    port = first
    while len(ports) < count:
        if _is_free(port):
            ports.append(port)
        port += 1
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore old connections, as servers do
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# --- the processes


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A command, and its environment in addition to ours."""

    argv: Sequence[str]
    environment: Mapping[str, str]


class MasterPrinter:
    """Prints the new master at every election."""

    def __init__(self, url: str, *locks: str) -> None:
        self._admin = Database(url).lock_admin()
        self._printed_terms = dict.fromkeys(locks, 0)

    def print_new_masters(self) -> bool:
        """Print the masters elected since the last call. Return whether there has been any."""
        for lock in self._printed_terms:
            for history_event in reversed(self._history(lock)):
                if (
                    history_event.kind == "elected"
                    and history_event.term
                    and history_event.instance
                    and history_event.term > self._printed_terms[lock]
                ):
                    self._printed_terms[lock] = history_event.term
                    pid = history_event.instance.rsplit("-", 2)[-2]
                    print(f"master of {lock}: {history_event.instance} (pid {pid})", flush=True)
        return any(self._printed_terms.values())

    def _history(self, lock: str) -> list[HistoryEvent]:
        try:
            return self._admin.history(lock)
        except StoreUnavailable:
            return []  # there are no tables yet, or the database is busy: try again later


class ProcessSupervisor:
    """Processes by name, each replaced some time after it has died. ``exit_message`` is printed then.

    What they print is printed with their name in front: ``web-1 | …``.
    """

    def __init__(self, run_lock: RunLock, process_spec: Callable[[str], ProcessSpec], exit_message: str) -> None:
        self._run_lock = run_lock
        self._process_spec = process_spec
        self._exit_message = exit_message
        self._processes: dict[str, Process] = {}
        self._printers: list[threading.Thread] = []
        self._exited_at: dict[str, float] = {}

    def run(
        self, names: Sequence[str], seconds: float, signals: ShutdownSignals, has_had_master: Callable[[], bool]
    ) -> None:
        """Run the processes for ``seconds`` from the first master on, which ``has_had_master`` detects.

        0 means until Ctrl-C.
        """
        first_master_deadline, ends_at = time.monotonic() + FIRST_MASTER_TIMEOUT, float("inf")
        try:
            while not signals.requested and time.monotonic() < ends_at:
                for name in names:
                    self._restart_if_exited(name)
                is_counting = has_had_master() or time.monotonic() > first_master_deadline
                if seconds and is_counting and ends_at == float("inf"):
                    ends_at = time.monotonic() + seconds
                time.sleep(0.1)
        finally:
            if signals.requested:
                print(flush=True)  # after the ^C of the terminal
            self._stop_all()

    def _restart_if_exited(self, name: str) -> None:
        process = self._processes.get(name)
        if process is None:
            self._start(name)
        elif process.poll() is not None and name not in self._exited_at:
            self._exited_at[name] = time.monotonic()
            message = self._exit_message.format(name=name, pid=process.pid)
            print(f"   {message} in {RESTART_DELAY:.0f} s", flush=True)
        elif name in self._exited_at and time.monotonic() > self._exited_at[name] + RESTART_DELAY:
            del self._exited_at[name]
            self._start(name)

    def _start(self, name: str) -> None:
        """Start a process in its own group, so that Ctrl-C reaches only us: a second signal would kill it."""
        spec = self._process_spec(name)
        process = self._processes[name] = Process(
            spec.argv,
            cwd=ROOT,
            env={**os.environ, **spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=[self._run_lock.descriptor],
        )
        printer = threading.Thread(target=_print_output, args=(name, process), daemon=True)
        printer.start()
        self._printers = [each for each in self._printers if each.is_alive()] + [printer]
        self._run_lock.record_pids([process.pid for process in self._processes.values()])

    def _stop_all(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for printer in self._printers:
            printer.join(1)  # a process that was left behind may hold the pipe open


def _print_output(name: str, process: Process) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            text = line.decode(errors="replace").rstrip("\n")
            print(f"{name} | {text}\n", end="", flush=True)  # one write, so that lines are not mixed


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The context of a run, made by `set_up_demonstration`."""

    run_lock: RunLock
    signals: ShutdownSignals
    seconds: float

    def run(
        self,
        names: Sequence[str],
        process_spec: Callable[[str], ProcessSpec],
        exit_message: str,
        master_printer: MasterPrinter,
    ) -> None:
        """Run these processes for the requested time."""
        ProcessSupervisor(self.run_lock, process_spec, exit_message).run(
            names, self.seconds, self.signals, master_printer.print_new_masters
        )


@contextlib.contextmanager
def set_up_demonstration(name: str, description: str | None, directory: Path) -> Iterator[Demonstration]:
    """Set up the only run of this name, with an empty directory that is removed at the end."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--for", dest="seconds", default="0s", help="end after this time, such as 20s")
    arguments = parser.parse_args()
    try:
        seconds = parse_seconds(arguments.seconds)
    except SettingError as error:
        sys.exit(str(error))
    with RunLock(name, directory.with_name(f"{directory.name}.lock")) as run_lock:
        signals = ShutdownSignals()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                yield Demonstration(run_lock, signals, seconds)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
