"""`masterjob run`: real processes that follow manifests, on SQLite."""

import json
import signal
from collections.abc import Callable

import pytest

from tests.cli.conftest import RunProcess, Terminal, manifest

RunStarter = Callable[..., RunProcess]


def test_it_logs_what_it_follows_and_runs_the_job(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    process = run()
    startup_line = process.wait_for_line("follows")
    assert f"follows {terminal.manifests} on {terminal.url}; jobs: beep" in startup_line
    process.wait_for_line("became master of BEEP")
    process.wait_for_line("begins with")
    terminal.wait_for("Running")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_job_releases_the_lock_and_ends_with_0(
    number: int, terminal: Terminal, run: RunStarter
) -> None:
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("begins with")
    assert process.signal_and_wait(number) == 0
    assert terminal.state() == "Vacant"
    assert terminal.election_history("BEEP") == ["stepped down", "elected"]


def test_an_ignored_sighup_stays_ignored_as_under_nohup(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the process inherits it
    try:
        process = run()
    finally:
        signal.signal(signal.SIGHUP, before)
    process.wait_for_line("begins with")
    process.send_signal(signal.SIGHUP)
    assert process.signal_and_wait(signal.SIGTERM) == 0
    assert "SIGTERM: stopping the jobs" in process.wait_for_line("stopping the jobs and releasing")


def test_a_program_that_does_not_exist_is_not_said_to_run(terminal: Terminal, run: RunStarter) -> None:
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text().replace("command: [sh,", "command: [no-such-program,"))
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("command no-such-program cannot be used: No such file or directory")
    process.wait_for_line("stepped down from BEEP")
    assert not any("runs as process" in line or "stopping the job" in line for line in process.lines)


def test_two_signals_within_a_moment_count_as_one(terminal: Terminal, run: RunStarter) -> None:
    """As from a terminal and from the parent process, both: the job still has its time to stop."""
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("begins with")
    process.send_signal(signal.SIGINT)
    assert process.signal_and_wait(signal.SIGTERM) == 0
    assert terminal.election_history("BEEP") == ["stepped down", "elected"]


def test_a_later_second_signal_ends_the_process_at_once(terminal: Terminal, run: RunStarter) -> None:
    config = terminal.folder / "config.yaml"
    stubborn = "trap 'echo asked' TERM; echo begins with $MASTERJOB_TERM; while :; do sleep 0.1; done"
    config.write_text(
        f"masterJobExecutor:\n  database: {terminal.url}\n  initDelay: 0s\n"
        f'jobs:\n  beep:\n    exec: {{command: [sh, -c, "{stubborn}"]}}\n'
    )
    terminal.write(
        "beep.yaml",
        manifest()
        .replace("leaseDuration: 60s", "leaseDuration: 600s")
        .replace("stopTimeout: 10s", "stopTimeout: 500s"),
    )
    process = run()
    process.wait_for_line("begins with")
    process.send_signal(signal.SIGTERM)
    process.wait_for_line("asked")
    while not process.exits_soon():
        process.send_signal(signal.SIGTERM)
    assert process.signal_and_wait(0) == 128 + signal.SIGTERM
    process.wait_for_line("SIGTERM again: exiting at once")


def test_an_unknown_name_in_the_config_file_is_reported(terminal: Terminal, run: RunStarter) -> None:
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text() + "masterJobExecuter:\n  lostPolicy: exit\n")
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("masterJobExecuter is not known: did you mean masterJobExecutor?; it is ignored")
    result = terminal.run("validate", str(terminal.manifests), "--config", str(config))
    assert result.exit_code == 1
    assert "masterJobExecuter is not known: did you mean masterJobExecutor?" in result.stderr


def test_an_edit_disables_with_its_reason_and_enables_again(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("begins with")
    terminal.write("beep.yaml", manifest(more="  enabled: false\n  disabledReason: moving\n"))
    process.wait_for_line("stepped down from BEEP")
    lock = terminal.run_json("status", "BEEP")
    assert (lock["state"], lock["master"]) == ("Disabled", None)
    assert (lock["disabled"]["reason"], lock["disabled"]["source"]) == ("moving", "file:default/beep")
    terminal.write("beep.yaml", manifest(more="  enabled: true\n  disabledReason: moving\n"))
    process.wait_for_line("begins with", count=2)
    terminal.wait_for("Running")


def test_an_edit_of_intervals_keeps_the_term(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    process = run("--log-level", "debug")
    process.wait_for_line("begins with")
    term = terminal.run_json("status", "BEEP")["term"]
    terminal.write("beep.yaml", manifest().replace("leaseDuration: 60s", "leaseDuration: 80s"))
    terminal.write("last.yaml", manifest("last", lock_name="LAST"))  # when this is done, the edit before it is
    process.wait_for_line("became master of LAST")
    terminal.wait_for("Running")
    assert terminal.run_json("status", "BEEP")["term"] == term
    assert terminal.election_history("BEEP") == ["elected"]


def test_an_unsafe_timing_is_reported_with_its_line_and_changes_nothing(
    terminal: Terminal, run: RunStarter
) -> None:
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("begins with")
    terminal.write("beep.yaml", manifest().replace("leaseDuration: 60s", "leaseDuration: 2s"))
    logged = process.wait_for_line("leaseDuration 2s is too short")
    assert "beep.yaml line 8: spec.leaseDuration" in logged
    terminal.wait_for("Running")


def test_a_removed_file_frees_the_lock_and_its_switch(terminal: Terminal, run: RunStarter) -> None:
    path = terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("begins with")
    terminal.write("beep.yaml", manifest(more="  enabled: false\n"))
    process.wait_for_line("stepped down from BEEP")
    path.unlink()
    process.wait_for_line("BEEP is no longer disabled by file:default/beep: that MasterJob is gone")
    assert terminal.run_json("status", "BEEP")["disabled"] is None


def test_a_bad_file_keeps_its_last_good_state_and_the_others_are_followed(
    terminal: Terminal, run: RunStarter
) -> None:
    terminal.write("beep.yaml", manifest())
    process = run()
    process.wait_for_line("begins with")
    terminal.write("beep.yaml", manifest(more="  enabled: [\n"))
    terminal.write("other.yaml", manifest("other", lock_name="OTHER"))
    process.wait_for_line("the last valid version stays in effect")
    process.wait_for_line("became master of OTHER")
    terminal.wait_for("Running")


def test_the_second_of_two_files_with_one_lock_is_a_conflict_and_takes_over_later(
    terminal: Terminal, run: RunStarter
) -> None:
    first = terminal.write("a.yaml", manifest("a"))
    terminal.write("b.yaml", manifest("b", "  enabled: false\n  disabledReason: mine now\n"))
    process = run()
    logged = process.wait_for_line("Conflict")
    assert "b.yaml line 5: spec.lockName: Conflict: lock BEEP belongs to default/a" in logged
    process.wait_for_line("begins with")
    first.unlink()
    process.wait_for_line("BEEP is disabled by file:default/b: mine now")
    terminal.wait_for("Disabled")


def test_a_job_that_is_not_in_the_config_file_is_reported_and_the_others_run(
    terminal: Terminal, run: RunStarter
) -> None:
    terminal.write("a.yaml", manifest("a", lock_name="A").replace("job: beep", "job: boop"))
    terminal.write("b.yaml", manifest("b", lock_name="B"))
    process = run()
    assert "a.yaml line 6: spec.job: no job 'boop' is known here (known: beep)" in process.wait_for_line("boop")
    process.wait_for_line("became master of B")


def test_a_bad_job_in_the_config_file_is_reported_and_the_others_run(terminal: Terminal, run: RunStarter) -> None:
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text() + "  boop: {exec: {comand: [sh]}}\n")
    terminal.write("beep.yaml", manifest())
    process = run()
    assert (
        "config.yaml line 9: jobs.boop.exec.comand is not known: did you mean command?"
        in process.wait_for_line("boop")
    )
    process.wait_for_line("became master of BEEP")


def test_the_log_may_be_lines_of_json(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    process = run("--log-format", "json")
    process.wait_for_line("begins with")
    assert process.signal_and_wait(signal.SIGTERM) == 0
    entries = [json.loads(line) for line in process.lines]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in entries)


def test_of_three_processes_one_runs_the_job_and_a_command_stops_it(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    processes = [run() for _ in range(3)]
    for process in processes:
        process.wait_for_line("follows")
    terminal.wait_for("Running")
    assert terminal.run("disable", "BEEP", "--reason", "enough").exit_code == 0
    terminal.wait_for("Disabled")
    assert sum("became master" in line for each in processes for line in each.lines) == 1
    assert terminal.run("enable", "BEEP").exit_code == 0
    terminal.wait_for("Running")


def test_a_python_job_may_be_a_module_in_the_working_directory(terminal: Terminal, run: RunStarter) -> None:
    (terminal.folder / "own_jobs.py").write_text(
        "import logging\nfrom masterjob import MasterJob\n\n\ndef start(term):\n"
        "    logging.getLogger('masterjob.own').info('own %s', term.lock_name)\n\n\nbeep = MasterJob(start)\n"
    )
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text() + "  own: {python: {entry: 'own_jobs:beep'}}\n")
    terminal.write("own.yaml", manifest("own", lock_name="OWN").replace("job: beep", "job: own"))
    run().wait_for_line("own OWN")


def test_the_config_file_may_lie_among_the_manifests(terminal: Terminal, run: RunStarter) -> None:
    terminal.write("beep.yaml", manifest())
    config = terminal.manifests / "config.yaml"
    config.write_text((terminal.folder / "config.yaml").read_text())
    process = run("--config", str(config))
    process.wait_for_line("became master of BEEP")
    assert process.signal_and_wait(signal.SIGTERM) == 0
    assert not any("WARNING" in line for line in process.lines)
