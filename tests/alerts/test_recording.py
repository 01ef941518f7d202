"""The recorded values in the notation of promtool, and which alerts the recordings cover."""

import re

import pytest
import yaml

from tests.alerts.recording import RULES_FILE, recorded_names, to_test, to_values
from tests.alerts.scenarios import SCENARIOS

RECORDED_FILE = RULES_FILE.parent / "masterjob.recorded.test.yaml"
MUST_BE_RECORDED = {
    "MasterJobDatabaseUnreachable",
    "MasterJobVacant",
    "MasterJobStartFails",
    "MasterJobCompleted",
    "MasterJobFlaps",
}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0], "1"),
        ([1.0, 1.0, 1.0, 0.0], "1x2 0"),
        ([None, 0.0, None, None, None, 0.0], "_ 0 stale _x2 0"),
        ([1.23456, 100000.0], "1.235 100000"),
    ],
)
def test_repeated_values_are_written_once(values: list[float | None], text: str) -> None:
    assert to_values(values) == text


def test_a_test_has_all_series_and_what_is_expected() -> None:
    text = to_test("a fault", [{"a{}": 1.0}, {"a{}": 0.0, "b{}": 2.0}], {15: {"Alert": 1}, 30: {}})
    (test,) = yaml.safe_load("tests:\n" + text)["tests"]
    assert test["input_series"] == [{"series": "a{}", "values": "1 0"}, {"series": "b{}", "values": "_ 2"}]
    assert [each["eval_time"] for each in test["promql_expr_test"]] == ["15s", "30s"]
    assert test["promql_expr_test"][1]["exp_samples"] == []


def test_the_recordings_are_those_of_the_scenarios() -> None:
    recorded = yaml.safe_load(RECORDED_FILE.read_text())["tests"]
    assert [test["name"] for test in recorded] == [scenario.name for scenario in SCENARIOS]
    for test, scenario in zip(recorded, SCENARIOS, strict=True):
        assert [each["eval_time"] for each in test["promql_expr_test"]] == [f"{at}s" for at in scenario.expected]
        assert {re.sub(r"\{.*", "", each["series"]) for each in test["input_series"]} <= recorded_names()


def test_each_alert_for_which_someone_is_paged_fires_in_a_recording() -> None:
    fired = {name for scenario in SCENARIOS for alerts in scenario.expected.values() for name in alerts}
    assert fired == MUST_BE_RECORDED
