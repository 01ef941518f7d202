"""Jobs by name: what the config file may contain, and the one-sentence errors about the rest."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from masterjob.config.documents import read_document
from masterjob.errors import SettingError
from masterjob.jobs import registry
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.output import OutputLevels
from masterjob.jobs.exec.spec import ExecSpec
from masterjob.jobs.http.spec import HttpSpec
from masterjob.jobs.python.spec import PythonSpec
from masterjob.jobs.registry import JobSpec, discover_jobs, known_jobs, load_jobs, parse_jobs
from tests.jobs import example_jobs
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term


def locate(path: Sequence[str]) -> str:
    return f"config file x: jobs.{'.'.join(path)} (line {len(path)})"


def parse_one(job: object) -> JobSpec:
    return parse_jobs({"it": job}, locate)["it"]


def parse_error(job: object) -> str:
    with pytest.raises(SettingError) as caught:
        parse_one(job)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("config file x: jobs.it")
    return message.removeprefix("config file x: jobs.")


def test_an_empty_section_has_no_jobs() -> None:
    assert parse_jobs(None, locate) == {}
    assert parse_jobs({}, locate) == {}


def test_each_kind_makes_a_fresh_job_of_its_own() -> None:
    specs = parse_jobs(
        {
            "nightly": {"exec": {"command": ["make", "report"]}},
            "cleaner": {"python": {"entry": "tests.jobs.example_jobs:both"}},
            "remote": {"http": {"start": "https://host/start"}},
        },
        locate,
    )
    pool = ManualThreadPool()
    assert {name: type(spec) for name, spec in specs.items()} == {
        "nightly": ExecSpec,
        "cleaner": PythonSpec,
        "remote": HttpSpec,
    }
    for spec in specs.values():
        assert spec.create_job(pool, 2.0) is not spec.create_job(pool, 2.0)


def test_a_command_in_full() -> None:
    spec = parse_one({"exec": {"command": ["sh", "-c", ""], "environment": {"A_1": ""}, "directory": "/srv"}})
    assert isinstance(spec, ExecSpec)
    assert spec.command == ExecCommand(("sh", "-c", ""), {"A_1": ""}, "/srv")


def test_each_output_of_a_command_may_have_a_level() -> None:
    spec = parse_one({"exec": {"command": ["x"], "stdoutLevel": "debug", "stderrLevel": "warning"}})
    assert isinstance(spec, ExecSpec)
    assert spec.command.output_levels == OutputLevels(logging.DEBUG, logging.WARNING)


def test_hooks_in_full() -> None:
    spec = parse_one(
        {"http": {"start": "http://[::1]:8/a?b=c", "stop": "https://h/", "timeout": "1m", "retries": "0"}}
    )
    assert isinstance(spec, HttpSpec)
    hooks = spec.hooks
    assert (hooks.start, hooks.stop, hooks.timeout, hooks.retries) == ("http://[::1]:8/a?b=c", "https://h/", 60, 0)


def test_hooks_have_defaults_and_null_is_nothing() -> None:
    spec = parse_one(
        {"http": {"start": "http://h", "stop": None, "headers": None, "timeout": None, "retries": None}}
    )
    assert isinstance(spec, HttpSpec)
    assert (spec.hooks.stop, spec.hooks.headers, spec.hooks.timeout, spec.hooks.retries) == (None, {}, 5.0, 3)


def test_secrets_are_not_shown() -> None:
    specs = [
        parse_one({"exec": {"command": ["x"], "environment": {"PASSWORD": "s3cret"}}}),
        parse_one({"http": {"start": "http://h", "headers": {"Authorization": "s3cret"}}}),
    ]
    assert "s3cret" not in repr(specs)


EXEC = {"command": ["x"]}
HTTP = {"start": "http://h"}


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("text", "it (line 1) must hold names and values: use one of exec, python, http"),
        (None, "it (line 1) must have exactly one of exec, python, http"),
        ({"exec": EXEC, "http": HTTP}, "it (line 1) must have exactly one of exec, python, http"),
        ({"exce": EXEC}, "it.exce (line 2) is not known: did you mean exec?"),
        ({"shell": EXEC}, "it.shell (line 2) is not known: use one of exec, python, http"),
        ({"exec": {}}, "it.exec.command (line 3) is missing"),
        ({"exec": {"comand": ["x"]}}, "it.exec.comand (line 3) is not known: did you mean command?"),
        ({"exec": {"command": "make report"}}, "it.exec.command (line 3) must be a list such as [sh, -c, "),
        ({"exec": {"command": []}}, "it.exec.command (line 3) must be a list"),
        ({"exec": {"command": ["x"] * 257}}, "it.exec.command (line 3) has 257 items; at most 256 are allowed"),
        (
            {"exec": {"command": ["x", 5]}},
            "it.exec.command.1 (line 4) must be text, not a number: put it in quotes",
        ),
        (
            {"exec": EXEC | {"stderrLevel": "loud"}},
            "it.exec.stderrLevel (line 3) must be debug, info, warning or error, not 'loud'",
        ),
        ({"exec": {"command": [""]}}, "it.exec.command.0 (line 4) must not be empty"),
        ({"exec": {"command": ["a\0b"]}}, "it.exec.command.0 (line 4) has a character that is not text"),
        (
            {"exec": {"command": ["x" * 32_769]}},
            "it.exec.command.0 (line 4) has 32769 characters; at most 32768 are",
        ),
        ({"exec": EXEC | {"environment": ["A=B"]}}, "it.exec.environment (line 3) must hold names and values"),
        ({"exec": EXEC | {"environment": {"A": 1}}}, "it.exec.environment.A (line 4) must be text"),
        ({"exec": EXEC | {"environment": {"A": None}}}, "it.exec.environment.A (line 4) must be text"),
        (
            {"exec": EXEC | {"environment": {1: "A"}}},
            "it.exec.environment.1 (line 4) is not a valid variable name",
        ),
        (
            {"exec": EXEC | {"environment": {"A-B": ""}}},
            "it.exec.environment.A-B (line 4) is not a valid variable name",
        ),
        ({"exec": EXEC | {"environment": {"MASTERJOB_TERM": "1"}}}, "MASTERJOB_TERM (line 4) cannot be set"),
        (
            {"exec": EXEC | {"environment": dict.fromkeys(map(str, range(257)), "")}},
            "has 257 entries; at most 256 are",
        ),
        ({"exec": EXEC | {"directory": 5}}, "it.exec.directory (line 3) must be text"),
        ({"python": {}}, "it.python.entry (line 3) is missing"),
        ({"python": {"entry": "no.colon"}}, "it.python.entry (line 3) must be of the form package.module:object"),
        ({"python": {"entry": "os:system('x')"}}, "it.python.entry (line 3) must be of the form"),
        ({"http": {"stop": "http://h"}}, "it.http.start (line 3) is missing"),
        ({"http": {"start": "ftp://h"}}, "it.http.start (line 3) must be a URL such as https://host/path"),
        ({"http": {"start": "http:///path"}}, "it.http.start (line 3) must be a URL"),
        ({"http": {"start": "http://h:70000"}}, "it.http.start (line 3) must be a URL"),
        ({"http": {"start": "http://h/a b"}}, "it.http.start (line 3) must be a URL"),
        ({"http": {"start": "http://h/a\r\nb"}}, "it.http.start (line 3) must be a URL"),
        (
            {"http": {"start": "http://h/" + "x" * 2048}},
            "it.http.start (line 3) has 2057 characters; at most 2048 are",
        ),
        ({"http": {"start": "http://h#f"}}, "it.http.start (line 3) has a fragment"),
        ({"http": {"start": "http://u:s3cret@h"}}, "it.http.start (line 3) has a user or password"),
        (
            {"http": HTTP | {"timeout": 5000}},
            "it.http.timeout (line 3) must be from 10ms to 5m, written like",
        ),
        ({"http": HTTP | {"timeout": "5000"}}, "it.http.timeout (line 3) must be from 10ms to 5m"),
        ({"http": HTTP | {"timeout": "1h"}}, "it.http.timeout (line 3) must be from 10ms to 5m"),
        ({"http": HTTP | {"timeout": "5 apples"}}, "it.http.timeout (line 3) must be from 10ms to 5m"),
        ({"http": HTTP | {"retries": 11}}, "it.http.retries (line 3) must be a whole number from 0 to 10"),
        ({"http": HTTP | {"retries": True}}, "it.http.retries (line 3) must be a whole number"),
        ({"http": HTTP | {"retries": -1}}, "it.http.retries (line 3) must be a whole number"),
        ({"http": HTTP | {"headers": {"A B": "x"}}}, "it.http.headers.A B (line 4) is not a valid header name"),
        (
            {"http": HTTP | {"headers": {"Content-Length": "x"}}},
            "Content-Length (line 4) cannot be set: masterjob or",
        ),
        (
            {"http": HTTP | {"headers": {"A": "x\ny"}}},
            "it.http.headers.A (line 4) has a character that is not allowed",
        ),
        ({"http": HTTP | {"headers": {"A": "x", "a": "y"}}}, "it.http.headers (line 3) has a header twice"),
        ({"http": HTTP | {"headers": {"A": 5}}}, "it.http.headers.A (line 4) must be text"),
        (
            {"http": HTTP | {"headers": {"A": {}}}},
            "it.http.headers.A (line 4) must be text, or have exactly one of",
        ),
        (
            {"http": HTTP | {"headers": {"A": {"fil": "x"}}}},
            "it.http.headers.A.fil (line 5) is not known: did you mean file",
        ),
        ({"http": HTTP | {"headers": {"A": {"file": ""}}}}, "it.http.headers.A.file (line 5) must not be empty"),
    ],
)
def test_an_error_names_the_place_and_the_problem(job: object, sentence: str) -> None:
    message = parse_error(job)
    assert sentence in message
    assert "s3cret" not in message


@pytest.mark.parametrize("name", ["", " x", "x" * 201, "a\nb"])
def test_a_job_s_name_follows_the_rules_of_a_lock_s(name: str) -> None:
    with pytest.raises(SettingError, match="is not a valid job name: use 1 to 200 characters"):
        parse_jobs({name: {"exec": EXEC}}, locate)


def test_the_number_of_jobs_is_limited() -> None:
    with pytest.raises(SettingError, match="has 10001 entries; at most 10000 are allowed"):
        parse_jobs({str(number): {"exec": EXEC} for number in range(10_001)}, locate)


# --- Python entries


@pytest.mark.parametrize(
    ("entry", "calls"),
    [("both", ["start", "stop"]), ("ready", ["ready"]), ("thread", ["start"]), ("runner", ["run"])],
)
def test_an_entry_is_called(entry: str, calls: list[str]) -> None:
    example_jobs.calls.clear()
    pool, report = ManualThreadPool(), RecordingReport()
    job = parse_one({"python": {"entry": f"tests.jobs.example_jobs:{entry}"}}).create_job(pool, 1.0)
    job.start(live_term(), report)
    pool.run_all()
    job.stop()
    pool.run_all()
    assert example_jobs.calls == calls
    assert report.events == ["started", "stopped"]


def test_an_entry_may_lie_deeper_in_its_module() -> None:
    parse_one({"python": {"entry": "tests.jobs.test_registry:Holder.held"}}).create_job(ManualThreadPool(), 1.0)


class Holder:
    held = example_jobs.both


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("no.such:thing", "no.such:thing cannot be imported: ModuleNotFoundError: No module named 'no'"),
        ("tests.jobs.broken_jobs:x", "cannot be imported: RuntimeError: broken on purpose"),
        ("tests.jobs.example_jobs:missing", "cannot be imported: tests.jobs.example_jobs has no missing"),
        ("tests.jobs.example_jobs:nothing", "is not a job: masterJob.start is not a function, but None"),
        ("tests.jobs.example_jobs:Both", "is a class: name an instance of it"),
        ("tests.jobs.example_jobs:greedy", "is not a job: masterJob.start needs one, two"),
    ],
)
def test_an_entry_that_is_not_a_job_is_an_error_before_anything_is_started(entry: str, sentence: str) -> None:
    spec = parse_one({"python": {"entry": entry}})
    with pytest.raises(SettingError) as caught:
        spec.create_job(ManualThreadPool(), 1.0)
    assert str(caught.value).startswith(f"config file x: jobs.it.python.entry (line 3): {entry} ")
    assert sentence in str(caught.value)


def install_entry_points(monkeypatch: pytest.MonkeyPatch, **points: Any) -> None:
    entry_points = [
        EntryPoint(name, value, registry.ENTRY_POINT_GROUP) for name, values in points.items() for value in values
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [each for each in entry_points if each.group == group]
    )


def test_installed_packages_offer_jobs_that_are_imported_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "offered_for_test.py").write_text("def start(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    install_entry_points(
        monkeypatch, nightly=["offered_for_test:start"], good=["tests.jobs.example_jobs:both"] * 2
    )
    specs = discover_jobs()
    assert {name: type(spec) for name, spec in specs.items()} == {"nightly": PythonSpec, "good": PythonSpec}
    assert "offered_for_test" not in sys.modules
    specs["good"].create_job(ManualThreadPool(), 1.0)
    with pytest.raises(
        SettingError, match=r"entry point nightly of the group masterjob\.jobs: offered_for_test:start"
    ):
        specs["nightly"].create_job(ManualThreadPool(), 1.0)


def test_two_packages_cannot_offer_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install_entry_points(monkeypatch, nightly=["a:b", "c:d"])
    with pytest.raises(SettingError, match=r"nightly of the group masterjob\.jobs is both c:d and a:b"):
        discover_jobs()


def test_without_such_packages_there_are_none() -> None:
    assert isinstance(discover_jobs(), dict)


def test_a_job_of_the_config_file_replaces_a_package_s_and_an_invalid_one_affects_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install_entry_points(monkeypatch, nightly=["a:b"], offered=["c:d"])
    config = tmp_path / "config.yaml"
    config.write_text("jobs: {wrong: {exec: {}}, nightly: {exec: {command: [x]}}}")
    document = read_document(config, "config file x")
    jobs, errors = load_jobs(document)
    assert {name: type(spec) for name, spec in jobs.items()} == {"nightly": ExecSpec, "offered": PythonSpec}
    assert list(errors) == ["wrong"]
    assert known_jobs(document) == jobs
    assert str(errors["wrong"]) in caplog.text
    assert load_jobs(None) == (discover_jobs(), {})
