"""Every reason of every condition is seen on real operators, and has the expected kstatus."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from masterjob.kube.status.conditions import ALLOWED_REASONS, ConditionType
from tests.kube.kstatus import EXPECTED_KSTATUS, kstatus

WAIT_METHODS = ("wait", "wait_any_generation", "wait_past_status")
"""The methods that tests call with expected conditions, like `job.wait("Ready True Running")`."""


def awaited_conditions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each condition that a file waits for: its type, its reason, and the test."""
    tests = [each for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)]
    for test in tests:
        for call in [each for each in ast.walk(test) if isinstance(each, ast.Call)]:
            if isinstance(call.func, ast.Attribute) and call.func.attr in WAIT_METHODS:
                arguments = [str(each.value).split() for each in call.args if isinstance(each, ast.Constant)]
                yield from (
                    (kind, reason, test.name)
                    for kind, _, reason in (each for each in arguments if _is_condition(each))
                )


def _is_condition(parts: list[str]) -> bool:
    return len(parts) == 3 and parts[0] in set(ConditionType) and parts[1] in ("True", "False", "Unknown")


def coverage() -> dict[tuple[str, str], list[str]]:
    """Return the tests that wait for each reason of each condition."""
    tests_by_reason: dict[tuple[str, str], list[str]] = {
        (condition_type, each): []
        for condition_type in ALLOWED_REASONS
        for each in ALLOWED_REASONS[condition_type]
    }
    for path in sorted(Path(__file__).parent.glob("test_operator_*.py")):
        for kind, reason, test in awaited_conditions(path):
            tests_by_reason[kind, reason].append(f"{path.stem}: {test}")  # there is no other reason
    return tests_by_reason


def test_every_reason_of_every_condition_is_waited_for_by_some_test() -> None:
    uncovered = [f"{kind} {reason}" for (kind, reason), tests in coverage().items() if not tests]
    assert uncovered == []


def body(*conditions: tuple[str, str], observed_generation: int = 2) -> Mapping[str, Any]:
    entries = [{"type": kind, "status": status} for kind, status in conditions]
    return {
        "metadata": {"generation": 2},
        "status": {"observedGeneration": observed_generation, "conditions": entries},
    }


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (body(("Ready", "True")), "Current"),
        (body(("Ready", "True"), observed_generation=1), "InProgress"),
        (body(("Ready", "False")), "InProgress"),
        (body(("Ready", "Unknown")), "InProgress"),
        (body(("Ready", "False"), ("Reconciling", "True")), "InProgress"),
        (body(("Ready", "False"), ("Stalled", "True")), "Failed"),
        ({"metadata": {"generation": 1}}, "Current"),
        ({"metadata": {"generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "Terminating"),
    ],
)
def test_an_object_is_what_the_rules_of_kstatus_make_of_it(resource: Mapping[str, Any], expected: str) -> None:
    assert kstatus(resource) == expected


def test_each_ready_reason_has_an_expected_kstatus() -> None:
    assert EXPECTED_KSTATUS.keys() == ALLOWED_REASONS[ConditionType.READY]


if __name__ == "__main__":  # python -m tests.kube.test_operator_reasons
    for (kind, reason), tests in sorted(coverage().items()):
        print(f"{kind:12} {reason:20} {tests[0] if tests else 'nowhere'}")
