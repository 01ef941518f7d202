"""One instance of an application whose job writes to a table under its term's guard, and reports what it does.

Each report is one line of JSON in one write, so that a kill loses no report. Times are the kernel's
CLOCK_BOOTTIME, read by a system call, because libfaketime fakes that clock too by default.
"""

import argparse
import ctypes
import faulthandler
import json
import os
import platform
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg

from masterjob import MasterJob, MasterJobError, Term, TermLost, start_api, start_master

CHECK_INTERVAL = 0.05
PAUSE_THRESHOLD = 0.1
_CLOCK_GETTIME = {"x86_64": 228, "aarch64": 113}.get(platform.machine())
_libc = ctypes.CDLL(None)


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def now() -> float:
    if _CLOCK_GETTIME is None:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    found = _TimeSpec()
    _libc.syscall(_CLOCK_GETTIME, time.CLOCK_BOOTTIME, ctypes.byref(found))
    return float(found.seconds) + float(found.nanoseconds) / 1e9


def emit(kind: str, **more: object) -> None:
    os.write(1, (json.dumps({"what": kind, "at": now(), **more}) + "\n").encode())


class EffectJob:
    """A job that writes a few rows per second and stops at once; the guard handles a write that hangs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def start(self, term: Term) -> None:
        emit("start", term=term.number)
        if self._options.write_every:
            threading.Thread(target=self._write_until_lost, args=(term,), daemon=True).start()

    def stop(self, term: Term) -> None:
        emit("stop", term=term.number)

    def _write_until_lost(self, term: Term) -> None:
        writer: EffectWriter | None = None
        while not term.wait(self._options.write_every):
            try:
                writer = writer or EffectWriter.connect(self._options.database)
                writer.write(term, self._options)
                emit("wrote", term=term.number)
            except (TermLost, psycopg.Error, sqlite3.Error, OSError, MasterJobError) as error:
                emit("refused" if isinstance(error, TermLost) else "not written", term=term.number)
                writer = None


class EffectWriter:
    """One connection for the effects of the job; discarded after any error."""

    def __init__(
        self, connection: Any, insert: str, transaction: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self._connection = connection
        self._insert = insert
        self._transaction = transaction

    @classmethod
    def connect(cls, url: str) -> "EffectWriter":
        if url.startswith("sqlite"):
            file = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10, isolation_level="IMMEDIATE")
            return cls(file, "INSERT INTO effect (term) VALUES (?)", lambda: file)
        connection = psycopg.connect(url, connect_timeout=10, options="-c statement_timeout=10s")
        return cls(connection, "INSERT INTO effect (term) VALUES (%s)", connection.transaction)

    def write(self, term: Term, options: argparse.Namespace) -> None:
        with self._transaction():
            self._connection.execute(self._insert, (term.number,))
            wait_in_transaction("writing", options.before_guard, term)
            if not options.unguarded:
                term.guard(self._connection)
            wait_in_transaction("guarded", options.after_guard, term)


def wait_in_transaction(kind: str, seconds: float, term: Term) -> None:
    """Wait inside the transaction, and report it if the wait is long enough for a test to use."""
    if seconds:
        if seconds > CHECK_INTERVAL:
            emit(kind, term=term.number)
        threading.Event().wait(seconds)


def report_pauses() -> None:
    """Report every pause of this process, caused by a signal or by a busy machine."""
    before = now()
    while True:
        threading.Event().wait(CHECK_INTERVAL)
        after = now()
        if after - before > CHECK_INTERVAL + PAUSE_THRESHOLD:
            emit("late", since=before)
        before = after


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--lock", default="JOB")
    parser.add_argument("--heartbeat", default="500ms")
    parser.add_argument("--lease", default="2s")
    parser.add_argument("--stop-timeout", default="300ms")
    parser.add_argument("--check-interval", default="5s")
    parser.add_argument("--write-every", type=float, default=0.15)
    parser.add_argument("--before-guard", type=float, default=0.0)
    parser.add_argument("--after-guard", type=float, default=0.0)
    parser.add_argument("--unguarded", action="store_true")
    parser.add_argument("--serve", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    faulthandler.register(signal.SIGUSR1)  # the harness asks for the stacks of a worker that does not end
    job = EffectJob(options)
    if options.serve:
        api = start_api(port=0, database=options.database)
        api.wait_for_bind_attempt()
        emit("api", port=api.port)
    start_master(
        lock_name=options.lock,
        master_job=MasterJob(job.start, job.stop),
        database=options.database,
        init_delay="50ms",
        heartbeat_interval=options.heartbeat,
        lease_duration=options.lease,
        stop_timeout=options.stop_timeout,
        check_master_interval=options.check_interval,
    )
    threading.Thread(target=report_pauses, daemon=True).start()
    emit("up", pid=os.getpid())
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
