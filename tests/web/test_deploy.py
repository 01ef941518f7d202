"""The dashboard and the alerts speak of metrics that there are, in a language that Prometheus understands."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from masterjob.web.metrics.observer import Metrics

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = DEPLOY / "alerts" / "masterjob.rules.yaml"
DASHBOARD = DEPLOY / "grafana" / "masterjob.json"
API = DEPLOY.parent / "docs" / "api.md"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing (tests/web/install)"
)


def known() -> set[str]:
    """The metrics by the names of their series."""
    names = set()
    for family in Metrics().registry.collect():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        names |= {family.name + end for end in ends}
    return {name for name in names if name.startswith("masterjob_")}


def expressions() -> list[str]:
    rules: Any = yaml.safe_load(RULES.read_text())
    dashboard: Any = json.loads(DASHBOARD.read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]] + [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]


def test_every_metric_that_is_asked_for_is_there() -> None:
    for expression in expressions():
        assert set(re.findall(r"\bmasterjob_\w+", expression)) <= known(), expression


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    documented = set(re.findall(r"^\| `(masterjob_\w+)", API.read_text(), re.MULTILINE))
    assert documented == {re.sub(r"_(bucket|count|sum)$", "", name) for name in known()}


@needs_promtool
def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    made = [each.replace("$__rate_interval", "5m").replace("${datasource}", "x") for each in expressions()]
    rules = [{"record": f"test:{number}", "expr": each} for number, each in enumerate(made)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": rules}]}))
    for file in (path, RULES):
        subprocess.run(["promtool", "check", "rules", file], check=True, capture_output=True)


@needs_promtool
def test_the_alerts_tell_what_they_should_and_nothing_else() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "masterjob.rules.test.yaml"],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_what_is_shown_is_as_prometheus_wants_metrics_to_be() -> None:
    text, _ = Metrics().render()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    told = [line for line in (done.stdout + done.stderr).decode().splitlines() if line.startswith("masterjob_")]
    assert told == []


def test_the_dashboard_has_a_panel_for_each_kind_and_none_over_another() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in panels
        for x in range(p["gridPos"]["w"])
        for y in range(p["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
