"""The shutdown of a process, and the identity of an instance."""

import pytest

import masterjob
from masterjob.config.location import DatabaseLocation
from masterjob.runtime.identity import new_identity
from masterjob.runtime.runtime import Runtime, current_runtime
from tests.library.conftest import wait_until
from tests.servers.process import free_port


class RecordingHook:
    def __init__(self, calls: list[str], name: str = "", *, fails: bool = False) -> None:
        self.calls, self.name, self.fails = calls, name, fails

    def before(self) -> None:
        self.calls.append(f"before {self.name}".strip())
        if self.fails:
            raise RuntimeError("broken")

    def after(self) -> None:
        self.calls.append(f"after {self.name}".strip())


def test_a_failing_shutdown_hook_does_not_prevent_the_shutdown() -> None:
    runtime, calls = Runtime(), list[str]()
    for hook in (RecordingHook(calls), RecordingHook(calls, fails=True)):
        runtime.add_shutdown_hook(hook.before, hook.after)
    assert runtime.shutdown("the test is over")
    assert calls == ["before", "before", "after", "after"]


def test_shutdown_hooks_run_once_only() -> None:
    runtime, hook = Runtime(), RecordingHook([])
    runtime.add_shutdown_hook(hook.before, hook.after)
    runtime.shutdown("first")
    runtime.shutdown("second")
    assert hook.calls == ["before", "after"]


def test_what_started_last_shuts_down_first() -> None:
    runtime, calls = Runtime(), list[str]()
    api, operator = RecordingHook(calls, "api"), RecordingHook(calls, "operator")
    runtime.add_shutdown_hook(after=api.after)
    runtime.add_shutdown_hook(operator.before, operator.after)
    runtime.shutdown("the test is over")
    assert calls == ["before operator", "after operator", "after api"]


def test_an_instance_in_a_pod_is_named_by_it_and_says_where_it_is() -> None:
    found = new_identity(
        {"POD_NAME": "web-1", "POD_IP": "10.0.0.1", "POD_UID": "u", "NODE_NAME": "n", "CONTAINER_NAME": "c"}
    )
    assert found.instance.startswith("web-1-")
    assert (found.pod, found.address, found.pod_uid, found.node, found.container) == (
        "web-1",
        "10.0.0.1",
        "u",
        "n",
        "c",
    )


def test_the_longest_name_of_a_pod_fits() -> None:
    assert len(new_identity({"POD_NAME": "x" * 253}).instance) <= 255


def test_a_database_that_cannot_be_used_is_logged_with_the_lock(caplog: pytest.LogCaptureFixture) -> None:
    url = f"postgresql://app:geheim@127.0.0.1:{free_port()}/none"
    job = masterjob.MasterJob(lambda: None)
    master = masterjob.start_master(lock_name="A", master_job=job, database=url)
    try:
        wait_until(lambda: caplog.messages != [])
        assert caplog.messages[0].startswith("the database cannot be used, and is retried: PostgreSQL: ")
        assert caplog.messages[0].endswith("; affected: A")
        assert "geheim" not in caplog.text
    finally:
        master.close()


def test_all_that_uses_one_database_reports_to_one_log_of_outages() -> None:
    runtime = current_runtime()
    one, other = DatabaseLocation("sqlite:///a"), DatabaseLocation("sqlite:///b")
    assert runtime.outage_log(one) is runtime.outage_log(DatabaseLocation("sqlite:///a"))
    assert runtime.outage_log(one) is not runtime.outage_log(other)
