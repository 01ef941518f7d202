"""Writes that a former master cannot make, however long its process was frozen.

MASTERJOB_DATABASE_URL=sqlite:////tmp/demo.sqlite3 python examples/guarded_writer.py
"""

import os
import threading

from sqlalchemy import create_engine, text

from masterjob import MasterJob, Term, TermLost, start_master

# The job's own connection to the same database; SQLAlchemy wants the driver in the URL.
URL = os.environ["MASTERJOB_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
engine = create_engine(URL)


def write(term: Term) -> None:
    while not term.wait(0.2):
        try:
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO report (term) VALUES (:term)"), {"term": term.number})
                term.guard(connection)  # the last statement before the commit
        except TermLost:
            print("another instance is master by now; nothing was written", flush=True)
            return
        print(f"written in term {term.number}", flush=True)


if __name__ == "__main__":
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS report (term BIGINT NOT NULL)"))
    start_master(lock_name="REPORT", master_job=MasterJob(start=write), init_delay="100ms")
    threading.Event().wait()
