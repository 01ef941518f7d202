"""The end of a process, and who an instance is."""

from masterjob.runtime.identity import current_identity
from masterjob.runtime.runtime import Runtime


class RecordingHook:
    def __init__(self, *, fails: bool) -> None:
        self.fails, self.calls = fails, list[str]()

    def before_shutdown(self) -> None:
        self.calls.append("before")
        if self.fails:
            raise RuntimeError("broken")

    def after_shutdown(self) -> None:
        self.calls.append("after")


def test_a_failing_shutdown_hook_keeps_nothing_from_its_end() -> None:
    runtime = Runtime()
    failing, other = RecordingHook(fails=True), RecordingHook(fails=False)
    runtime.add_shutdown_hook(failing)
    runtime.add_shutdown_hook(other)
    assert runtime.shutdown("the test is over")
    assert failing.calls == other.calls == ["before", "after"]


def test_shutdown_hooks_run_once_only() -> None:
    runtime, hook = Runtime(), RecordingHook(fails=False)
    runtime.add_shutdown_hook(hook)
    runtime.shutdown("first")
    runtime.shutdown("second")
    assert hook.calls == ["before", "after"]


def test_an_instance_in_a_pod_is_named_by_it_and_says_where_it_is() -> None:
    found = current_identity(
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
    assert len(current_identity({"POD_NAME": "x" * 253}).instance) <= 255
