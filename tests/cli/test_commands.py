"""The commands of the terminal: their output and their exit codes."""

import json
import re
from pathlib import Path

import pytest

from masterjob.concurrency.clock import clock
from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.store.database import Database
from tests.cli.conftest import Terminal, elect_instance, manifest


def test_list_shows_who_is_master_and_who_is_disabled_why(terminal: Terminal) -> None:
    elect_instance(terminal)
    terminal.run("disable", "OTHER", "--reason", "moving the data", "--actor", "ann")
    lines = terminal.run("list").stdout.splitlines()
    assert lines[0].split() == ["Lock", "State", "Master", "Since", "Why"]
    assert lines[1].split()[:3] == ["BEEP", "Starting", "a-host-1234-5678abcd"]
    assert lines[2].split()[:2] == ["OTHER", "Disabled"]
    assert lines[2].rstrip().endswith("disabled by ann (api): moving the data")


def test_an_empty_database_is_reported_as_empty(terminal: Terminal) -> None:
    assert terminal.run("list").stdout == "No lock has been used on this database yet.\n"
    assert terminal.run_json("list") == []


def test_status_is_a_stable_object_for_programs(terminal: Terminal) -> None:
    elect_instance(terminal)
    lock = terminal.run_json("status", "BEEP")
    fields = ["lockName", "state", "why", "since", "enabled", "term", "master", "disabled", "job"]
    assert list(lock) == fields
    assert (lock["state"], lock["enabled"], lock["disabled"]) == ("Starting", True, None)
    assert lock["master"]["instance"] == "a-host-1234-5678abcd"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lock["master"]["since"])


def test_a_lock_that_is_disabled_while_its_master_stops_is_stopping(terminal: Terminal) -> None:
    elect_instance(terminal)
    assert terminal.run_json("disable", "BEEP", "--reason", "x")["state"] == "Stopping"


def test_an_unused_lock_is_not_found(terminal: Terminal) -> None:
    result = terminal.run("status", "UNUSED")
    assert result.exit_code == 1
    assert result.stderr == "masterjob: lock UNUSED not found: it was never used on this database\n"


def test_the_history_of_an_unused_lock_is_not_found_and_of_a_quiet_one_is_empty(
    terminal: Terminal,
) -> None:
    result = terminal.run("history", "UNUSED")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "masterjob: lock UNUSED not found: it was never used on this database\n"
    elect_instance(terminal)
    assert terminal.run("history", "BEEP").stdout == "Nothing has happened to BEEP yet.\n"
    assert terminal.run_json("history", "BEEP") == []


def test_enabling_an_unused_lock_changes_nothing_and_says_so(terminal: Terminal) -> None:
    result = terminal.run("enable", "UNUSED")
    assert result.exit_code == 0
    assert result.stdout == "UNUSED was not disabled: it was never used on this database\n"
    assert terminal.run_json("enable", "UNUSED") == {"changed": False, "lockName": "UNUSED"}


def test_the_first_disable_counts_until_it_is_enabled_again(terminal: Terminal) -> None:
    assert (
        terminal.run("disable", "BEEP", "--reason", "first").stdout
        == "BEEP is disabled in advance: no lock of this name was ever used on this database\n"
    )
    second = terminal.run("disable", "BEEP", "--reason", "second")
    assert second.exit_code == 0
    assert "(api): first; the first reason is kept" in second.stdout
    assert terminal.run("enable", "BEEP").stdout == "BEEP is enabled\n"
    assert terminal.run("enable", "BEEP").stdout == "BEEP was not disabled\n"
    assert [each["kind"] for each in terminal.run_json("history", "BEEP")] == ["enabled", "disabled"]


@pytest.mark.parametrize("until", ["2h", "1h30m", "2999-01-31T12:00:00Z", "2999-01-31T12:00:00+01:00"])
def test_a_disable_may_end_by_itself(until: str, terminal: Terminal) -> None:
    assert terminal.run_json("disable", "BEEP", "--reason", "x", "--until", until)["disabled"]["until"].endswith(
        "Z"
    )


@pytest.mark.parametrize("until", ["soon", "2h!", "2999-01-31", "2999-01-31T12:00:00", "2001-01-31T12:00:00Z"])
def test_an_end_that_is_not_valid_is_refused(until: str, terminal: Terminal) -> None:
    result = terminal.run("disable", "BEEP", "--reason", "x", "--until", until)
    assert (result.exit_code, terminal.run_json("list")) == (1, [])


def test_what_a_file_disables_is_not_enabled_by_a_command_which_explains_what_to_do(terminal: Terminal) -> None:
    terminal.run("disable", "BEEP", "--reason", "mine")
    Database(terminal.url).lock_admin().disable("BEEP", "moving", "file:default/beep", "file:default/beep")
    result = terminal.run("enable", "BEEP")
    assert result.exit_code == 1
    assert "BEEP is still disabled by file:default/beep: moving. " in result.stdout
    assert "masterjob enable BEEP --source file:default/beep" in result.stdout
    assert terminal.run("enable", "BEEP", "--source", "file:default/beep").stdout == "BEEP is enabled\n"


def test_step_down_is_requested_of_a_master_and_refused_without_one(terminal: Terminal) -> None:
    assert terminal.run("step-down", "BEEP").exit_code == 1
    assert terminal.run_json("step-down", "BEEP") == {"lockName": "BEEP", "asked": False}
    elect_instance(terminal)
    assert terminal.run("step-down", "BEEP", "--reason", "slow").exit_code == 0
    assert terminal.run_json("history", "BEEP")[0]["reason"] == "slow"


def record_a_gap(terminal: Terminal) -> None:
    """Write a history of an hour with a hand-over of six minutes in its middle."""
    store, now = Database(terminal.url).connect(10), clock()
    entries = (
        (3600, 1, TransitionKind.RUNNING),
        (2000, 1, TransitionKind.STOPPED),
        (2000, 1, TransitionKind.STEPPED_DOWN),
        (1980, 2, TransitionKind.ELECTED),
        (1640, 2, TransitionKind.RUNNING),
    )
    store.append_history(
        [HistoryEntry("BEEP", term, kind, "text", "me", happened_at=now - ago) for ago, term, kind in entries]
    )
    store.close()


def test_the_report_of_all_locks_has_a_row_for_each(terminal: Terminal) -> None:
    elect_instance(terminal)
    terminal.run("disable", "OTHER", "--reason", "x")
    record_a_gap(terminal)
    lines = terminal.run("report").stdout.splitlines()
    assert lines[0].split()[:5] == ["Lock", "Availability", "Gaps", "Missing", "Longest"]
    assert re.match(r"BEEP +(89\.9\d\d|90\.\d{3}) % +1 +6m +6m .* 1 hand over$", lines[1].rstrip())
    assert re.match(r"OTHER +not enabled +0", lines[2])


def test_the_report_of_one_lock_lists_its_gaps(terminal: Terminal) -> None:
    elect_instance(terminal)
    record_a_gap(terminal)
    text = terminal.run("report", "BEEP").stdout
    assert re.search(r"hand over +1 +6m +6m", text)
    report = terminal.run_json("report", "BEEP", "--since", "30m")
    assert report["causes"][0]["cause"] == "hand_over"
    assert report["demandedSeconds"] == pytest.approx(1800, abs=1)
    assert report["gaps"][0]["seconds"] == pytest.approx(160, abs=60)
    assert [each["lockName"] for each in terminal.run_json("report")] == ["BEEP"]


def test_a_report_of_an_unused_lock_or_of_no_duration_is_refused(terminal: Terminal) -> None:
    assert "UNUSED not found" in terminal.run("report", "UNUSED").stderr
    result = terminal.run("report", "--since", "yesterday")
    assert (result.exit_code, "not a length of time" in result.stderr) == (1, True)
    assert terminal.run("report").stdout == "No lock has been used on this database yet.\n"


def test_history_is_limited(terminal: Terminal) -> None:
    for _ in range(3):
        terminal.run("disable", "BEEP", "--reason", "x")
        terminal.run("enable", "BEEP")
    assert len(terminal.run_json("history", "BEEP", "--limit", "2")) == 2


def test_config_says_where_each_value_came_from(terminal: Terminal) -> None:
    rows = {
        row["name"]: row for row in terminal.run_json("config", "--config", str(terminal.folder / "config.yaml"))
    }
    assert rows["initDelay"]["source"].endswith("config.yaml line 3: masterJobExecutor.initDelay")
    assert rows["database"]["source"] == "environment MASTERJOB_DATABASE_URL"
    assert rows["leaseDuration"] == {"name": "leaseDuration", "value": "24s", "source": "default"}


def test_a_password_is_masked(terminal: Terminal) -> None:
    url = "postgresql://app:geheim@127.0.0.1:1/none"
    for arguments in (["config"], ["list"], ["db", "upgrade"]):
        result = terminal.run(*arguments, "--database", url)
        assert "geheim" not in result.output
    assert "app:***@127.0.0.1" in terminal.run("config", "--database", url).stdout


def test_a_database_that_does_not_answer_is_exit_code_3_without_a_traceback(terminal: Terminal) -> None:
    result = terminal.run_subprocess("list", "--database", "postgresql://app:geheim@127.0.0.1:1/none")
    assert result.returncode == 3
    assert result.stderr.startswith("masterjob: the database did not answer: PostgreSQL: ")
    assert "Traceback" not in result.stderr
    assert "geheim" not in result.stderr


def test_a_database_that_refuses_is_exit_code_1_and_named(terminal: Terminal) -> None:
    result = terminal.run("list", "--database", "sqlite:////no/such/folder/x")
    assert result.exit_code == 1
    assert result.stderr == (
        "masterjob: the database refuses this process, because there is no such database: "
        "SQLite: unable to open database file (sqlite:////no/such/folder/x)\n"
    )


def test_a_database_url_that_is_not_valid_is_refused_with_where_it_was_set(terminal: Terminal) -> None:
    config = terminal.folder / "wrong.yaml"
    config.write_text("masterJobExecutor:\n  database: oracle://h/d\n")
    option = terminal.run("list", "--database", "oracle://h/d")
    file = terminal.run("list", "--config", str(config), url="")
    environment = terminal.run("list", url="oracle://h/d")
    for result, location in (
        (option, "option --database"),
        (file, f"config file {config} line 2: masterJobExecutor.database"),
        (environment, "environment MASTERJOB_DATABASE_URL"),
    ):
        assert result.exit_code == 1
        assert result.stderr.startswith(f"masterjob: {location}: the database URL begins with oracle://")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["run", "x.yaml", "--database", "oracle://h/d"],
            "option --database: the database URL begins with oracle://",
        ),
        (["run", "x.yaml", "--host", "0.0.0.0"], "host 0.0.0.0 can be reached by others"),
        (["operator", "--port", "99999"], "option --port must be a port from 0 to 65535 or off, not 99999"),
    ],
)
def test_a_wrong_argument_is_reported_before_anything_begins(
    arguments: list[str], sentence: str, terminal: Terminal
) -> None:
    result = terminal.run_subprocess(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(f"masterjob: {sentence}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list", "--database", "oracle://h/d"], 1),
        (["list", "--config", "/none/config.yaml"], 1),
        (["status", "UNUSED"], 1),
        (["disable", "BEEP"], 2),
        (["frob"], 2),
        (["list", "--output", "xml"], 2),
        (["db", "upgrade"], 0),
        (["--version"], 0),
    ],
)
def test_exit_codes_are_those_in_the_help(arguments: list[str], code: int, terminal: Terminal) -> None:
    result = terminal.run_subprocess(*arguments)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr


def test_output_into_a_pipe_has_no_colours_and_one_line_for_each_row(terminal: Terminal) -> None:
    terminal.run("disable", "BEEP", "--reason", "a long reason " * 30)
    result = terminal.run_subprocess("list")
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 2
    assert json.loads(terminal.run_subprocess("list", "-o", "json").stdout)[0]["lockName"] == "BEEP"


def test_validate_finds_nothing_wrong_with_good_manifests(terminal: Terminal) -> None:
    terminal.write("beep.yaml", manifest())
    result = terminal.run("validate", str(terminal.manifests), "--config", str(terminal.folder / "config.yaml"))
    assert result.exit_code == 0
    assert "default/beep" in result.stdout


def test_validate_reports_every_error(terminal: Terminal) -> None:
    terminal.write("a.yaml", manifest("a", "  lostpolicy: exit\n"))
    terminal.write("b.yaml", manifest("b").replace("leaseDuration: 60s", "leaseDuration: 2s"))
    terminal.write("c.yaml", manifest("c").replace("job: beep", "job: boop"))
    config = str(terminal.folder / "config.yaml")
    answer = terminal.run_json("validate", str(terminal.manifests), "none.yaml", "--config", config)
    found = [error.replace(f"{terminal.manifests}/", "") for error in answer["errors"]]
    assert not answer["valid"]
    assert [error.split(":")[0] for error in found] == [
        "none.yaml",
        "a.yaml line 10",
        "c.yaml line 6",
        "leaseDuration 2s is too short for heartbeatInterval 1s and stopTimeout 10s",
        "c.yaml line 5",
    ]
    assert found[0].endswith("no such file or directory")
    assert "did you mean lostPolicy?" in found[1]
    assert "Conflict" in found[4]


def test_the_help_of_every_command_has_an_example(terminal: Terminal) -> None:
    for name in (
        "run",
        "list",
        "status",
        "history",
        "report",
        "enable",
        "disable",
        "step-down",
        "validate",
        "config",
    ):
        assert f"masterjob {name}" in terminal.run(name, "--help").stdout
    assert "Exit codes" in terminal.run("--help").stdout


def test_completion_can_be_installed(terminal: Terminal) -> None:
    assert "--install-completion" in terminal.run("--help").stdout


def test_nothing_is_left_behind_by_commands_that_only_check(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("validate", str(terminal.manifests))
    terminal.run("config")
    assert not (tmp_path / "masterjob.sqlite3").exists()


def test_a_list_may_be_a_page_that_names_the_next_one(terminal: Terminal) -> None:
    for name in ("A", "B C", "D"):
        terminal.run("disable", name, "--reason", "x")
    page = terminal.run("list", "--limit", "2")
    assert [line.split("  ")[0] for line in page.stdout.splitlines()] == ["Lock", "A", "B C"]
    assert page.stderr == "masterjob: there are more: --after 'B C'\n"
    assert [each["lockName"] for each in terminal.run_json("list", "--limit", "2", "--after", "B C")] == ["D"]
    assert terminal.run("list", "--after", "D").stdout == "No name comes after D.\n"


def test_forget_deletes_a_lock_and_says_why_it_keeps_one(terminal: Terminal) -> None:
    assert terminal.run("forget", "UNUSED").exit_code == 1
    terminal.run("disable", "A", "--reason", "x", "--actor", "ann")
    kept = terminal.run("forget", "A")
    assert (kept.exit_code, kept.stderr) == (1, "masterjob: A is kept, because it is disabled by ann (api)\n")
    assert terminal.run_json("forget", "A") == {
        "lockName": "A",
        "forgotten": False,
        "why": "it is disabled by ann (api)",
    }
    terminal.run("enable", "A")
    assert terminal.run("forget", "A").stdout == "A and its history are deleted\n"
    assert terminal.run_json("list") == []


def test_prune_shows_the_unused_locks_and_deletes_them_only_if_asked_to(terminal: Terminal) -> None:
    database = Database(terminal.url)
    database.prepare()
    store = database.connect(10)
    store.ensure_locks(["A", "B"])
    store.close()
    terminal.run("disable", "USED", "--reason", "x")
    terminal.run("enable", "USED")
    shown = terminal.run("prune", "--unused-for", "1h")
    assert (shown.stdout, shown.exit_code) == ("A\nB\n", 0)
    assert shown.stderr == "2 locks were not used in the last 1h; --yes deletes them\n"
    assert len(terminal.run_json("list")) == 3
    done = terminal.run("prune", "--unused-for", "1h", "--yes")
    assert done.stdout == "A: deleted\nB: deleted\n2 of 2 locks deleted\n"
    assert [each["lockName"] for each in terminal.run_json("list")] == ["USED"]
    assert terminal.run("prune", "--unused-for", "soon").exit_code == 1


def test_disabling_a_name_that_was_never_used_says_so_and_suggests_another(terminal: Terminal) -> None:
    unknown = "no lock of this name was ever used on this database"
    assert terminal.run("disable", "A", "--reason", "x").stdout == f"A is disabled in advance: {unknown}\n"
    elect_instance(terminal, "REPORT")
    mistyped = terminal.run("disable", "RPORT", "--reason", "x")
    assert (mistyped.exit_code, mistyped.stdout) == (
        0,
        f"RPORT is disabled in advance: {unknown}; did you mean REPORT?\n",
    )
