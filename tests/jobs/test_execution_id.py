"""The identity of an execution: whether its controller is dead. In doubt it lives."""

import os
import subprocess
from dataclasses import replace

import pytest

from masterjob.jobs.exec.execution_id import ExecutionId
from masterjob.jobs.exec.processes import read_process
from tests.timeouts import WAIT_TIMEOUT

OTHER = 17
"""The number of no namespace."""


def id_of_a_dead_controller() -> ExecutionId:
    """Return the identity of an execution whose controller has ended, and was waited for."""
    process = subprocess.Popen(["true"])
    process.wait(WAIT_TIMEOUT)
    return replace(ExecutionId.create(), controller_pid=process.pid)


def test_it_is_read_from_the_text_that_it_is_written_as() -> None:
    execution = ExecutionId.create()
    assert ExecutionId.parse(str(execution)) == execution


@pytest.mark.parametrize("text", [None, "", "1-2-3-4", "1-2-3-4-5-6", "1-2-3-4-x", "1-2-3-4-", "1-2-3-4-²"])
def test_other_texts_are_none(text: str | None) -> None:
    assert ExecutionId.parse(text) is None


def test_two_executions_of_one_controller_differ() -> None:
    assert ExecutionId.create() != ExecutionId.create()


def test_the_execution_of_a_living_controller_is_not_orphaned() -> None:
    assert not ExecutionId.create().is_orphaned()


def test_that_of_a_dead_controller_is_orphaned() -> None:
    assert id_of_a_dead_controller().is_orphaned()


def test_so_it_is_if_another_process_got_its_pid_since() -> None:
    execution = ExecutionId.create()
    assert replace(execution, controller_start_time=execution.controller_start_time - 1).is_orphaned()


def test_so_it_is_if_nobody_waits_for_the_dead_controller() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from now on
    zombie = read_process(process.pid)
    assert zombie is not None
    controller = {"controller_pid": process.pid, "controller_start_time": zombie.start_time}
    assert replace(ExecutionId.create(), **controller).is_orphaned()
    process.wait(WAIT_TIMEOUT)


@pytest.mark.parametrize("namespace", ["pid_namespace", "time_namespace"])
def test_it_is_not_if_its_pid_or_time_counts_in_another_namespace(namespace: str) -> None:
    assert not replace(id_of_a_dead_controller(), **{namespace: OTHER}).is_orphaned()


def test_it_is_not_without_namespaces_as_on_a_system_that_does_not_show_them() -> None:
    assert not replace(id_of_a_dead_controller(), pid_namespace=0, time_namespace=0).is_orphaned()


def test_a_number_that_is_no_pid_is_not_orphaned() -> None:
    assert not replace(ExecutionId.create(), controller_pid=10**30).is_orphaned()
