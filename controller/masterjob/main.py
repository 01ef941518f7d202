"""The composition root: the only file that knows every room; what a library user calls is here.

One `_Instance` a database takes part in the election for all locks of this process. The order of the end is
the same however it comes (SIGTERM, the interpreter's exit, `Master.close`): jobs are stopped, then locks
released, then the session and the threads end; so another instance takes over within milliseconds.
"""

import asyncio
import atexit
import getpass
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from uuid import uuid4

from masterjob.election.driver import Driver
from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.election.machine.messages import Declare, StepDown, Withdraw
from masterjob.election.term import LiveTerm
from masterjob.election.values import Identity
from masterjob.election.values import lock_name as valid_lock_name
from masterjob.jobs.crew import Crew
from masterjob.jobs.python import MasterJob, PythonJob
from masterjob.settings import Settings, resolve
from masterjob.store.database import Database
from masterjob.store.history import Event
from masterjob.store.reading import LockStatus
from masterjob.store.switchboard import Switchboard

logger = logging.getLogger("masterjob")

GRACE = 5.0
"""Seconds beside the stop timeout that an end may take: for the release, and a database that is slow."""

Duration = str | float | timedelta


class Master:
    """One instance's part in one lock. Made by `start_master`."""

    def __init__(self, instance: "_Instance", lock_name: str, stop_timeout: float) -> None:
        self._instance = instance
        self._stop_timeout = stop_timeout
        self.lock_name = lock_name

    @property
    def instance(self) -> str:
        """The id of this instance; new at every start of the process."""
        return self._instance.driver.identity.instance

    @property
    def is_master(self) -> bool:
        """Whether this instance is master right now. Reads the clock: true only as long as it can be trusted."""
        return self.term is not None

    @property
    def term(self) -> LiveTerm | None:
        """The term that this instance serves, or None."""
        return self._instance.driver.term_of(self.lock_name)

    @property
    def why(self) -> str:
        """One sentence: what this instance does about the lock, and why."""
        return self._instance.why(self.lock_name)

    def step_down(self, reason: str = "asked to") -> None:
        """Stop the job, release the lock and sit out one heartbeat interval; nothing if not master."""
        self._instance.driver.tell(StepDown(self.lock_name, reason))

    def close(self) -> None:
        """Stop the job if it runs here, release the lock and take part no more.

        Waits for that, the stop timeout and a few seconds at most; where the job's ``stop`` takes longer, the
        lock is kept until it returns.

        Raises:
            RuntimeError: called on the event loop that the job's coroutines need to stop; use `aclose`.
        """
        if self._instance.loop_is_here():
            raise RuntimeError("close() would wait for the event loop that it stands on: await aclose()")
        self._close()

    async def aclose(self) -> None:
        """Do what `close` does, from a coroutine."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if not self._instance.close_lock(self.lock_name, self._stop_timeout + GRACE):
            logger.warning("%s is not closed yet: %s", self.lock_name, self.why)

    def __repr__(self) -> str:
        return f"<master of {self.lock_name}: {self.why}>"


def start_master(  # noqa: PLR0913 - the arguments are the product's surface
    *,
    lock_name: str | None = None,
    master_job: object = None,
    database: str | None = None,
    config: str | Path | None = None,
    init_delay: Duration | None = None,
    check_master_interval: Duration | None = None,
    heartbeat_interval: Duration | None = None,
    max_heartbeat_retry_count: int | None = None,
    lease_duration: Duration | None = None,
    stop_timeout: Duration | None = None,
    lost_policy: str | None = None,
    handle_signals: bool = True,
) -> Master:
    """Take part in the election for ``lock_name``: run ``master_job`` whenever this instance is master.

    Call it in every copy of the application; it returns at once. Durations are text (``30s``), a
    ``timedelta``, or a number of milliseconds. What is not given comes from the environment, the config file
    (``config`` or ``MASTERJOB_CONFIG``) or the defaults, each by itself.

    Coroutine functions run on the event loop that this is called in, or on one of our own. With
    ``handle_signals`` SIGTERM stops the jobs and releases the locks before it ends the process; a handler that
    was there before is called too.

    Raises:
        SettingError: an argument or setting is missing or wrong; the message says which, where, and what would do.
        TimingError: the timing is unsafe.

    Source: design sections 3.4 and 5.
    """
    if lock_name is None:
        raise SettingError("lock_name is not specified: start_master needs the name of the lock to compete for")
    name, job = valid_lock_name(lock_name), _job_of(master_job)
    options: dict[str, object] = {
        "database": database,
        "init_delay": init_delay,
        "check_master_interval": check_master_interval,
        "heartbeat_interval": heartbeat_interval,
        "max_heartbeat_retry_count": max_heartbeat_retry_count,
        "lease_duration": lease_duration,
        "stop_timeout": stop_timeout,
        "lost_policy": lost_policy,
    }
    settings = resolve(options, os.environ, config)
    master = _process.instance_of(settings.database).open_lock(name, job, settings)
    if handle_signals:
        _process.handle_sigterm()
    return master


def _job_of(master_job: object) -> MasterJob:
    if isinstance(master_job, MasterJob):
        return master_job
    if master_job is None:
        raise SettingError("master_job is not specified: pass MasterJob(start=…, stop=…)")
    if isinstance(master_job, Mapping):
        start, stop = master_job.get("start"), master_job.get("stop")
    else:
        start, stop = getattr(master_job, "start", None), getattr(master_job, "stop", None)
    return MasterJob(start=start, stop=stop)  # type: ignore[arg-type]  # it says what is wrong with them


# --- the switch, and what people read ---------------------------------------------------------------------


def enable(lock_name: str, actor: str | None = None, *, database: str | None = None) -> bool:
    """Take back what `disable` did; whatever else disables the lock still does. False if nothing was to do.

    ``database`` may be left out where it is configured, or where this process takes part on just one.

    Raises:
        SettingError: the lock name or actor is unfit, or no database is named.
        StoreUnavailable: the database gave no answer.
    """
    return _switchboard(database).enable(lock_name, actor or _whoever_runs_this())


def disable(
    lock_name: str,
    reason: str,
    actor: str | None = None,
    *,
    until: datetime | None = None,
    database: str | None = None,
) -> bool:
    """Have the master of the lock stop, and keep every instance from becoming master, until it is enabled.

    ``until`` (with a time zone) ends it by itself. False if it was disabled this way before: then the first reason
    is kept. A lock that nobody used yet may be disabled in advance. Errors are those of `enable`.
    """
    return _switchboard(database).disable(lock_name, reason, actor or _whoever_runs_this(), until=until)


def step_down(lock_name: str, reason: str, actor: str | None = None, *, database: str | None = None) -> bool:
    """Ask the lock's present master, wherever it is, to give its term to another; False if there is none."""
    return _switchboard(database).step_down(lock_name, actor or _whoever_runs_this(), reason)


def status(lock_name: str | None = None, *, database: str | None = None) -> list[LockStatus]:
    """Read who is master, or why nobody is, of one lock or of all."""
    return _switchboard(database).status(lock_name)


def history(lock_name: str, limit: int = 100, *, database: str | None = None) -> list[Event]:
    """Read the lock's transitions, the newest first: at most ``limit`` and never more than 1,000."""
    return _switchboard(database).history(lock_name, limit)


def _switchboard(database: str | None) -> Switchboard:
    running = _process.only_database()
    if database is None and running is not None:
        return running.switchboard()
    other = Database(resolve({"database": database}, os.environ, None).database)
    other.prepare()  # a lock may be disabled before any instance was ever started
    return other.switchboard()


def _whoever_runs_this() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()


# --- this process -----------------------------------------------------------------------------------------


class _Instance:
    """The part of this process in the election on one database."""

    def __init__(self, url: str, crew: Crew, over: Callable[["_Instance"], None]) -> None:
        self.url = url
        self.database = Database(url)
        self.driver = Driver(_identity(), self.database, self.database.fence)
        self.longest_stop = 0.0
        self._crew = crew
        self._over = over
        self._locks: dict[str, asyncio.AbstractEventLoop | None] = {}
        self._lock = threading.Lock()

    def open_lock(self, name: str, job: MasterJob, settings: Settings) -> Master:
        loop = _running_loop()
        with self._lock:
            if name in self._locks:
                raise SettingError(f"lock {name} was already started in this process: close that one first")
            self._locks[name] = loop
        self.longest_stop = max(self.longest_stop, settings.timing.stop_timeout)
        self.driver.run_job(name, PythonJob(job.start, job.stop, self._crew, loop))
        self.driver.tell(Declare(name, settings.timing, settings.lost_policy, settings.init_delay))
        return Master(self, name, settings.timing.stop_timeout)

    def close_lock(self, name: str, timeout: float) -> bool:
        self.driver.tell(Withdraw(name, "closed"))
        if not self.driver.wait_gone(name, timeout):
            return False
        with self._lock:
            self._locks.pop(name, None)
            last = not self._locks
        return self._leave("closed", timeout) if last else True

    def close(self, why: str) -> bool:
        return self._leave(why, self.longest_stop + GRACE)

    def _leave(self, why: str, timeout: float) -> bool:
        self._over(self)
        return self.driver.leave(why, timeout)

    def loop_is_here(self) -> bool:
        here = _running_loop()
        return here is not None and here in self._locks.values()

    def why(self, name: str) -> str:
        """What the elector says; what it cannot know about somebody else's lock, the database does."""
        words = self.driver.why(name)
        if not self.driver.waits(name):
            return words
        try:
            found = self.database.switchboard().status(name)
        except StoreUnavailable:
            return f"{words}; the database gave no answer"
        return _why_not(found[0]) if found else words


class _Process:
    """Everything that takes part in this process, and the process's own end."""

    def __init__(self) -> None:
        self._closes_at_exit = False
        self._handled_before: signal._HANDLER = None
        self._begin()
        self._mask: set[signal.Signals] = set()
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._unmask, after_in_child=self._after_fork
        )

    def _begin(self) -> None:
        self._instances: dict[str, _Instance] = {}
        self._lock = threading.RLock()
        self._crew = Crew()
        self._signals: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._handles_sigterm = False

    # A forked child has none of our threads: it is no instance until it becomes one, and SIGTERM does there
    # what it did before us. The signal is held back meanwhile, or it could meet a handler that nobody serves.

    def _before_fork(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _after_fork(self) -> None:
        if self._handles_sigterm:
            signal.signal(signal.SIGTERM, self._handled_before)
        self._begin()
        self._unmask()

    def _unmask(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def instance_of(self, url: str) -> _Instance:
        with self._lock:
            if url not in self._instances:
                instance = _Instance(url, self._crew, self._forget)
                self._instances[url] = instance
                instance.driver.start()
            if not self._closes_at_exit:
                self._closes_at_exit = True
                atexit.register(self.close_all, "the interpreter exits")
            return self._instances[url]

    def _forget(self, instance: _Instance) -> None:
        with self._lock:
            if self._instances.get(instance.url) is instance:
                del self._instances[instance.url]

    def only_database(self) -> Database | None:
        with self._lock:
            running = list(self._instances.values())
            return running[0].database if len(running) == 1 else None

    def close_all(self, why: str) -> None:
        """Stop every job and release every lock of this process."""
        with self._lock:
            instances = list(self._instances.values())
        for instance in instances:
            if not instance.close(why):
                logger.warning("not everything has stopped; its locks stay taken until their leases end")

    # --- SIGTERM ---

    def handle_sigterm(self) -> None:
        """Close on SIGTERM too; only the main thread can set that up, and an ignored signal stays ignored."""
        if self._handles_sigterm or threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)
        if before in (signal.SIG_IGN, None):
            return
        self._handles_sigterm, self._handled_before = True, before
        threading.Thread(target=self._await_signal, name="masterjob signals", daemon=True).start()

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            # Only what may interrupt anything: putting into this queue, and setting a handler.
            if callable(before):
                self._signals.put(lambda: self.close_all("SIGTERM"))
                before(number, frame)
            else:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                self._signals.put(self._close_and_die)

        signal.signal(signal.SIGTERM, on_sigterm)

    def _await_signal(self) -> None:
        while True:
            self._signals.get()()

    def _close_and_die(self) -> None:
        """End as the signal would have ended us, only with the locks released before."""
        self.close_all("SIGTERM")
        os.kill(os.getpid(), signal.SIGTERM)


def _why_not(lock: LockStatus) -> str:
    if lock.disabled is not None:
        return f"disabled by {lock.disabled.actor} ({lock.disabled.source}): {lock.disabled.reason}"
    if lock.master is not None:
        return f"waiting: {lock.master.instance} is master (term {lock.term})"
    return "waiting: the lock is free and about to be claimed"


def _identity() -> Identity:
    host = socket.gethostname()
    return Identity(f"{host}-{os.getpid()}-{uuid4().hex[:8]}", address=host)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_process = _Process()
