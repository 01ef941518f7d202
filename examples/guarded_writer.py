"""Database writes that a former master cannot commit, no matter how long its process was frozen.

MASTERJOB_DATABASE_URL=sqlite:////tmp/demo.sqlite3 python examples/guarded_writer.py
"""

import contextlib
import os
import threading

from sqlalchemy import URL, create_engine, make_url, text

from masterjob import MasterJob, Term, TermLost, start_master

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
"""The drivers that MasterJob installs. SQLAlchemy would use others, or does not know the name."""


def with_driver(text: str) -> URL:
    """Return MasterJob's database URL in the form that SQLAlchemy needs."""
    url = make_url(text)
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


# The job's own connections, to the same database.
engine = create_engine(with_driver(os.environ["MASTERJOB_DATABASE_URL"]))


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


def main() -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS report (term BIGINT NOT NULL)"))
    start_master(lock_name="REPORT", master_job=MasterJob(start=write), init_delay="100ms")
    threading.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: the job is stopped and the lock released at exit
        main()
