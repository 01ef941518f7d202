"""A server process: its user, its data, when it is ready, how it ends."""

import atexit
import contextlib
import ctypes
import fcntl
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from tests.timeouts import WAIT_TIMEOUT

_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def _machine_wide_lock() -> Iterator[None]:
    """Exclude the other processes of this test run and of any other on this machine."""
    with (Path(tempfile.gettempdir()) / f"masterjob-test-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Unavailable(Exception):
    """This server is not available here; the message says why."""


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process; continue only when each of its threads has stopped, because a signal takes time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + WAIT_TIMEOUT
        while any(_is_running(thread) for thread in Path(f"/proc/{pid}/task").iterdir()):
            assert time.monotonic() < deadline, f"process {pid} does not stop"
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _is_running(thread: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] != "T"
    return False


class Server:
    """A server of one kind. A subclass knows its files, its command, its version and its databases."""

    name: ClassVar[str]
    users: ClassVar[tuple[str, ...]]
    """The user to run as if the tests run as root, which no database server accepts."""
    stop_signal: ClassVar[signal.Signals]
    """The signal that ends it fastest; its data is not needed any more."""
    version = ""

    def __init__(self) -> None:
        self._database_ids = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.user = self._unprivileged_user()
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="masterjob-test-"))
        atexit.register(self.stop)
        if self.user is not None:
            account = pwd.getpwnam(self.user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)

    def start(self) -> None:
        try:
            self.create_data_directory()
            self._process = self._spawn(self.command())
            self._wait_until_ready()
        except Unavailable:
            self.stop()
            raise
        except (OSError, subprocess.SubprocessError) as error:
            self.stop()
            raise Unavailable(str(error)) from error

    def create_data_directory(self) -> None:
        raise NotImplementedError

    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def read_version(self) -> str:
        """Return the version; raise any exception as long as the server does not answer."""
        raise NotImplementedError

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        raise NotImplementedError

    def new_database_name(self) -> str:
        return f"t{next(self._database_ids)}"

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(self.stop_signal)
            try:
                process.wait(WAIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a command that creates the server's files, one at a time: MariaDB's does not work beside another."""
        with _machine_wide_lock():
            completed = subprocess.run(
                command,
                check=False,
                user=self.user,
                cwd=self.directory,
                env=self._environment(),
                timeout=WAIT_TIMEOUT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        if completed.returncode:
            raise Unavailable(f"{command[0]} failed: {completed.stdout[-500:]}")

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(
                command,
                user=self.user,
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which stop the server themselves
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it only makes a system call
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + WAIT_TIMEOUT
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise Unavailable(f"it ended at once: {self.log()}")
            try:
                self.version = self.read_version()
            except Exception as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"no answer: {error}; {self.log()}") from error
                time.sleep(0.05)
            else:
                return

    def _unprivileged_user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        for user in self.users:
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(user).pw_name
        raise Unavailable(f"the tests run as root, and there is no user {' or '.join(self.users)}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.directory), "LC_ALL": "C"}


def _die_with_parent() -> None:
    """End the server also if the tests are killed (on Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def find_program(program: str, *directories: Path) -> Path:
    found = shutil.which(program)
    for candidate in ([Path(found)] if found else []) + [directory / program for directory in directories]:
        if candidate.exists():
            return candidate
    raise Unavailable(f"{program} is not installed")
