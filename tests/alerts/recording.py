"""The metrics of some controllers over time, in the notation of promtool."""

import re
import urllib.request
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

ALERTS_DIRECTORY = Path(__file__).parent.parent.parent / "deploy" / "alerts"
RULES_FILE = ALERTS_DIRECTORY / "masterjob.rules.yaml"
INTERVAL = 15
"""Seconds between two scrapes."""

Scrape = Mapping[str, float]
"""The value of each series."""


def recorded_names() -> set[str]:
    """Return the names of all series that the alerts use, without the many buckets of histograms."""
    names = set(re.findall(r"\bmasterjob_\w+", RULES_FILE.read_text()))
    return {name for name in names if not name.endswith("_bucket")}


def scrape(port: int, instance: str, names: set[str]) -> Scrape:
    """Return the series of these names, labelled as Prometheus does; nothing if the controller does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        to_series(sample.name, {**sample.labels, "instance": instance, "job": "masterjob"}): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in names
    }


def to_series(name: str, labels: Mapping[str, str]) -> str:
    pairs = ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


def to_values(values: Sequence[float | None]) -> str:
    """Return values in the notation of promtool: repeated ones as ``1x3``, missing ones as ``_``.

    A series that a scrape does not have any more, or whose instance is gone, is ``stale``, as in Prometheus.
    """
    rounded = [None if value is None else f"{round(value, 3):g}" for value in values]
    texts = [
        "stale" if value is None and previous is not None else value
        for previous, value in zip([None, *rounded], rounded, strict=False)
    ]
    return " ".join(_repeat(text, len(list(group))) for text, group in groupby(texts))


def _repeat(text: str | None, count: int) -> str:
    if text is None:
        return "_" if count == 1 else f"_x{count}"
    return text if count == 1 else f"{text}x{count - 1}"  # a value, and so many more


def to_test(name: str, scrapes: Sequence[Scrape], expected: Mapping[int, Mapping[str, int]]) -> str:
    """Return a test of promtool: ``expected`` has the number of alerts that fire at some seconds, by name."""
    lines = [f"  - name: {name}", f"    interval: {INTERVAL}s", "    input_series:"]
    for series in sorted({each for scrape in scrapes for each in scrape}):
        values = to_values([scrape.get(series) for scrape in scrapes])
        lines.append(f"      - {{series: '{series}', values: \"{values}\"}}")
    lines.append("    promql_expr_test:")
    for seconds, alerts in expected.items():
        lines.append('      - expr: count by (alertname) (ALERTS{alertstate="firing"})')
        lines.append(f"        eval_time: {seconds}s")
        lines.append("        exp_samples:" + ("" if alerts else " []"))
        lines += [
            f"          - {{labels: '{{alertname=\"{alert}\"}}', value: {count}}}"
            for alert, count in alerts.items()
        ]
    return "\n".join(lines) + "\n"
