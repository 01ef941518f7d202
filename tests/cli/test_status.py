"""The command `status`: the last run of a job, for people."""

import re

from masterjob.concurrency.clock import clock
from masterjob.job_status import RunPhase, RunRecord, RunStatus
from masterjob.store.database import Database
from tests.cli.conftest import Terminal, elect_instance


def elect_instance_again(terminal: Terminal) -> None:
    """End the term of the master, and begin another one."""
    store = Database(terminal.url).connect(10)
    store.close_session("session")
    store.close()
    elect_instance(terminal, session="next session")


def record_run(terminal: Terminal, run: RunStatus) -> int:
    """Write a run of the present master; return its term."""
    database = Database(terminal.url)
    term = database.lock_admin().status("BEEP")[0].term
    database.write_runs([RunRecord("BEEP", "beep", "a-host-1234-5678abcd", term, run)])
    return term


def table_rows(terminal: Terminal, *command: str) -> dict[str, str]:
    """Return the rows of a table with two columns, by the first; further lines of a cell are indented."""
    rows: dict[str, str] = {}
    for line in terminal.run(*command).stdout.splitlines():
        name, _, value = line.partition("  ")
        if name:
            rows[key := name] = value.strip()
        else:
            rows[key] += "\n" + value.strip()
    return rows


def test_status_shows_the_phase_the_failures_and_the_last_lines_of_a_run_that_failed(terminal: Terminal) -> None:
    elect_instance(terminal)
    output = tuple(f"line {number}" for number in range(1, 13))
    record_run(terminal, RunStatus(RunPhase.FAILED, clock(), 7, 2, "exit code 7", output, 3))
    rows = table_rows(terminal, "status", "BEEP")
    assert rows["State"] == "StartFailed"
    assert rows["Why"] == "failed on a-host-1234-5678abcd: exit code 7 (3 failures in a row)"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(\d+s\)", rows["Since"])
    assert rows["Phase"].startswith("Failed on a-host-1234-5678abcd since 2")
    assert (rows["Job"], rows["Restarts"], rows["Failures"], rows["Exit code"]) == ("beep", "2", "3 in a row", "7")
    assert rows["Output"].splitlines() == ["… (2 earlier lines: --output json)", *output[2:]]
    assert terminal.run_json("status", "BEEP")["job"]["output"] == list(output)


def test_status_of_a_job_that_runs_does_not_show_what_failed_before(terminal: Terminal) -> None:
    elect_instance(terminal)
    record_run(terminal, RunStatus(RunPhase.RUNNING, clock(), 0, 1, output=("the end",), has_run=True))
    rows = table_rows(terminal, "status", "BEEP")
    assert (rows["State"], rows["Restarts"], rows["Exit code"]) == ("Running", "1", "0")
    assert {"Why", "Failures", "Last error", "Output"}.isdisjoint(rows)


def test_status_says_of_a_run_that_is_over_in_which_term_it_was(terminal: Terminal) -> None:
    elect_instance(terminal)
    term = record_run(terminal, RunStatus(RunPhase.COMPLETED, clock(), 0, has_run=True))
    elect_instance_again(terminal)
    rows = table_rows(terminal, "status", "BEEP")
    assert rows["State"] == "Starting"
    assert rows["Phase"].startswith(f"Completed on a-host-1234-5678abcd in term {term} since 2")
