"""The job of the end-to-end tests: it records twice per second that it runs, as only the master of a term can.

`tests.e2e.record` checks the rows afterwards. `beat` is written under the guard of the term. `start` and `stop`
are not, so that a second master would be visible. This module stands alone: a pod gets it from a volume.
"""

import contextlib
import functools
import os

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from masterjob import MasterJob, Term, TermLost

WRITE_INTERVAL = 0.5

TABLE = """
    CREATE TABLE IF NOT EXISTS record (
        id bigserial PRIMARY KEY, lock_name text, term bigint, pod text, what text,
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""
_INSERT = text("INSERT INTO record (lock_name, term, pod, what) VALUES (:lock_name, :term, :pod, :what)")


@functools.cache
def _engine() -> Engine:
    url = os.environ["MASTERJOB_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
    return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 2})


def _warm_up_pool() -> None:
    """Open a connection before there is a term, so that connecting is not part of a handover."""
    with contextlib.suppress(DBAPIError), _engine().connect():
        pass


def _write(term: Term, event: str, is_fenced: bool = False) -> None:
    try:
        with _engine().begin() as connection:
            row = {
                "lock_name": term.lock_name,
                "term": term.number,
                "pod": os.environ.get("POD_NAME"),
                "what": event,
            }
            connection.execute(_INSERT, row)
            if is_fenced:
                term.guard(connection)  # the last statement before the commit
    except DBAPIError as error:
        print(f"{event} could not be written: {error.orig}", flush=True)  # the next one may


def run(term: Term) -> None:
    """Run as long as the term lasts."""
    try:
        _write(term, "start")
        while not term.wait(WRITE_INTERVAL):
            _write(term, "beat", is_fenced=True)
        _write(term, "stop")
    except TermLost:
        print("the term is over", flush=True)


job = MasterJob(start=run)

if "MASTERJOB_DATABASE_URL" in os.environ:
    _warm_up_pool()  # in a pod, not in a test
