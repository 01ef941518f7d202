"""The dashboard and the alerts use metrics that exist, in expressions that Prometheus accepts."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from masterjob.web.metrics.observer import Metrics

DEPLOY_DIR = Path(__file__).parent.parent.parent / "deploy"
RULES_FILE = DEPLOY_DIR / "alerts" / "masterjob.rules.yaml"
DASHBOARD_FILE = DEPLOY_DIR / "grafana" / "masterjob.json"
API_DOCS = DEPLOY_DIR.parent / "docs" / "api.md"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing (tests/web/install)"
)


def exported_series() -> set[str]:
    """Return the series names of all metrics."""
    names = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return {name for name in names if name.startswith("masterjob_")}


def expressions() -> list[str]:
    rules: Any = yaml.safe_load(RULES_FILE.read_text())
    dashboard: Any = json.loads(DASHBOARD_FILE.read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]] + [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]


def test_every_metric_that_is_used_exists() -> None:
    for expression in expressions():
        assert set(re.findall(r"\bmasterjob_\w+", expression)) <= exported_series(), expression


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    documented = set(re.findall(r"^\| `(masterjob_\w+)", API_DOCS.read_text(), re.MULTILINE))
    assert documented == {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported_series()}


@needs_promtool
def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    expanded = [each.replace("$__rate_interval", "5m").replace("${datasource}", "x") for each in expressions()]
    rules = [{"record": f"test:{number}", "expr": each} for number, each in enumerate(expanded)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": rules}]}))
    for file in (path, RULES_FILE):
        subprocess.run(["promtool", "check", "rules", file], check=True, capture_output=True)


@needs_promtool
@pytest.mark.parametrize("kind", ["rules", "recorded"])
def test_the_alerts_fire_when_they_should_and_not_otherwise(kind: str) -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", f"masterjob.{kind}.test.yaml"],
        cwd=RULES_FILE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_exposition_follows_prometheus_conventions() -> None:
    text, _ = Metrics().render()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    complaints = [
        line for line in (done.stdout + done.stderr).decode().splitlines() if line.startswith("masterjob_")
    ]
    assert complaints == []


def test_the_dashboard_has_a_panel_for_each_kind_and_none_over_another() -> None:
    panels = json.loads(DASHBOARD_FILE.read_text())["panels"]
    cells = [
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in panels
        for x in range(p["gridPos"]["w"])
        for y in range(p["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
