"""A term in a fork of the process that is master."""

import subprocess
import sys

from tests.library.conftest import LibraryHarness
from tests.timeouts import WAIT_TIMEOUT

PROGRAM = """
import os, sqlite3, sys, threading
from masterjob import MasterJob, TermLost, start_master

path = sys.argv[1].removeprefix("sqlite:///")
done = threading.Event()

def describe(term):
    try:
        term.raise_if_lost()
        lost = "held"
    except TermLost:
        lost = "lost"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    term.guard(connection)
    connection.execute("COMMIT")
    return f"{lost}, over: {term.wait(0)}, trust: {term.trust_left > 0}"

def start(term):
    child = os.fork()
    if child == 0:
        print("child", describe(term), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", describe(term), flush=True)
    done.set()

master = start_master(lock_name="JOB", master_job=MasterJob(start), database=sys.argv[1], init_delay="0s")
done.wait()
master.close()
"""


def test_a_term_is_over_in_a_fork_while_it_goes_on_in_its_parent_and_the_guard_asks_the_database_in_both(
    sqlite_harness: LibraryHarness,
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, sqlite_harness.url],
        stdout=subprocess.PIPE,
        text=True,
        timeout=WAIT_TIMEOUT,
        check=True,
    )
    assert process.stdout == "child lost, over: True, trust: False\nparent held, over: False, trust: True\n"
