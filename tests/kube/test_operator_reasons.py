"""Every reason of every condition is seen on real operators, and tools that wait understand each state."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from masterjob.kube.status.conditions import REASONS, Kind
from tests.kube.kstatus import EXPECTED, kstatus

WAITS = ("wait", "wait_to_say", "wait_said")
"""What tests call with conditions that have to come true, like `job.wait("Ready True Elected")`."""


def asserted(path: Path) -> Iterator[tuple[str, str, str]]:
    """Return each condition that a file waits for, as its kind, its reason, and the test."""
    tests = [each for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)]
    for test in tests:
        for call in [each for each in ast.walk(test) if isinstance(each, ast.Call)]:
            if isinstance(call.func, ast.Attribute) and call.func.attr in WAITS:
                said = [str(each.value).split() for each in call.args if isinstance(each, ast.Constant)]
                yield from (
                    (kind, reason, test.name) for kind, _, reason in (each for each in said if _is_one(each))
                )


def _is_one(words: list[str]) -> bool:
    return len(words) == 3 and words[0] in set(Kind) and words[1] in ("True", "False", "Unknown")


def table() -> dict[tuple[str, str], list[str]]:
    """Where each reason of each condition is waited for."""
    found: dict[tuple[str, str], list[str]] = {(kind, each): [] for kind in REASONS for each in REASONS[kind]}
    for path in sorted(Path(__file__).parent.glob("test_operator_*.py")):
        for kind, reason, test in asserted(path):
            found[kind, reason].append(f"{path.stem}: {test}")  # there is no other reason
    return found


def test_every_reason_of_every_condition_is_waited_for_by_some_test() -> None:
    nowhere = [f"{kind} {reason}" for (kind, reason), tests in table().items() if not tests]
    assert nowhere == []


def body(*conditions: tuple[str, str], observed: int = 2) -> Mapping[str, Any]:
    told = [{"type": kind, "status": status} for kind, status in conditions]
    return {"metadata": {"generation": 2}, "status": {"observedGeneration": observed, "conditions": told}}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (body(("Ready", "True")), "Current"),
        (body(("Ready", "True"), observed=1), "InProgress"),
        (body(("Ready", "False")), "InProgress"),
        (body(("Ready", "Unknown")), "InProgress"),
        (body(("Ready", "False"), ("Reconciling", "True")), "InProgress"),
        (body(("Ready", "False"), ("Stalled", "True")), "Failed"),
        ({"metadata": {"generation": 1}}, "Current"),
        ({"metadata": {"generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "Terminating"),
    ],
)
def test_an_object_is_what_the_rules_of_kstatus_make_of_it(what: Mapping[str, Any], expected: str) -> None:
    assert kstatus(what) == expected


def test_each_state_is_known_to_the_judge() -> None:
    assert EXPECTED.keys() == REASONS[Kind.READY]


if __name__ == "__main__":  # python -m tests.kube.test_operator_reasons
    for (kind, reason), tests in sorted(table().items()):
        print(f"{kind:12} {reason:20} {tests[0] if tests else 'nowhere'}")
