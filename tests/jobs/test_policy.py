"""What a job's definition says about the life of its runs."""

import pytest

from masterjob.errors import SettingError
from masterjob.jobs.exec.spec import ExecSpec
from masterjob.jobs.policy import GivenPolicy, Restart, RunPolicy
from masterjob.jobs.python.job import MasterJob, as_master_job
from masterjob.jobs.python.spec import PythonSpec
from tests.jobs.fixtures import ManualThreadPool
from tests.jobs.test_registry import parse_error, parse_one


def policy_of(**fields: object) -> RunPolicy:
    spec = parse_one({"exec": {"command": ["true"], **fields}})
    assert isinstance(spec, ExecSpec)
    return spec.policy


def test_a_command_is_always_restarted_and_runs_after_five_seconds() -> None:
    assert policy_of() == RunPolicy(Restart.ALWAYS, once=False, start_seconds=5.0)


@pytest.mark.parametrize("restart", list(Restart))
def test_every_policy_can_be_named(restart: Restart) -> None:
    assert policy_of(restart=restart.value, startSeconds=0.5) == RunPolicy(restart, start_seconds=0.5)


def test_what_runs_once_is_restarted_only_on_failure() -> None:
    assert policy_of(once=True) == RunPolicy(Restart.ON_FAILURE, once=True)
    assert policy_of(once=True, restart="onFailure") == RunPolicy(Restart.ON_FAILURE, once=True)
    assert "restart" in parse_error({"exec": {"command": ["true"], "once": True, "restart": "always"}})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"restart": "sometimes"}, "it.exec.restart (line 3) must be always, onFailure or never, not 'sometimes'"),
        ({"once": "yes"}, "it.exec.once (line 3) must be true or false, not 'yes'"),
        (
            {"once": True, "restart": "never"},
            "restart (line 3) must be onFailure if once is true, not never",
        ),
        ({"startSeconds": 0}, "it.exec.startSeconds (line 3) must be a number of seconds from 0.1 to 3600, not 0"),
        ({"startSeconds": True}, "must be a number of seconds from 0.1 to 3600, not true"),
        ({"startSeconds": "5s"}, "must be a number of seconds from 0.1 to 3600, not '5s'"),
        ({"startSeconds": float("nan")}, "must be a number of seconds from 0.1 to 3600, not nan"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(fields: dict[str, object], problem: str) -> None:
    assert problem in parse_error({"exec": {"command": ["true"], **fields}})


def test_python_code_has_a_start_time_too() -> None:
    spec = parse_one({"python": {"entry": "tests.jobs.example_jobs:both", "startSeconds": 60}})
    assert isinstance(spec, PythonSpec)
    assert spec.policy == GivenPolicy(start_seconds=60.0)


@pytest.mark.parametrize(
    ("entry", "fields", "policy"),
    [
        ("runner", {}, RunPolicy(Restart.ON_FAILURE)),
        ("runner", {"restart": "always"}, RunPolicy(Restart.ALWAYS)),
        ("runner", {"once": True}, RunPolicy(Restart.ON_FAILURE, once=True)),
        ("always", {}, RunPolicy(Restart.ALWAYS, start_seconds=60.0)),
        ("always", {"restart": "never", "startSeconds": 1}, RunPolicy(Restart.NEVER, start_seconds=1.0)),
        ("both", {"startSeconds": 1}, RunPolicy(Restart.ON_FAILURE, start_seconds=1.0)),
    ],
)
def test_the_config_file_comes_before_the_object_and_a_run_that_returns_has_completed(
    entry: str, fields: dict[str, object], policy: RunPolicy
) -> None:
    spec = parse_one({"python": {"entry": f"tests.jobs.example_jobs:{entry}", **fields}})
    assert isinstance(spec, PythonSpec)
    assert spec.import_job().to_policy() == policy


@pytest.mark.parametrize(
    ("entry", "fields", "problem"),
    [
        ("both", {"restart": "always"}, "cannot have this policy: masterJob.restart applies only to run"),
        ("both", {"once": True}, "cannot have this policy: masterJob.once applies only to run"),
        ("always", {"once": True}, "masterJob.restart must be onFailure if once is true, not always"),
    ],
)
def test_a_policy_that_does_not_fit_the_object_is_refused_by_name(
    entry: str, fields: dict[str, object], problem: str
) -> None:
    spec = parse_one({"python": {"entry": f"tests.jobs.example_jobs:{entry}", **fields}})
    with pytest.raises(SettingError) as caught:
        spec.create_job(ManualThreadPool(), 1.0)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"restart": "sometimes"}, "masterJob.restart must be always, onFailure or never, not 'sometimes'"),
        ({"restart": "always", "once": True}, "masterJob.restart must be onFailure if once is true, not always"),
        ({"once": 1}, "masterJob.once must be true or false, not 1"),
        ({"start_seconds": 0}, "masterJob.startSeconds must be a number of seconds from 0.1 to 3600, not 0"),
    ],
)
def test_the_library_refuses_the_same(options: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingError) as caught:
        MasterJob(run=print, **options)  # type: ignore[arg-type]
    assert str(caught.value) == problem


def test_a_mapping_has_the_same_fields() -> None:
    job = as_master_job({"run": print, "once": True, "start_seconds": 1})
    assert job.to_policy() == RunPolicy(Restart.ON_FAILURE, once=True, start_seconds=1.0)
