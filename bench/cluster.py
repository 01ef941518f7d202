"""MasterJobs on a real API server: three operators with 1,000 of them, and how fast one reacts to a patch."""

import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.envtest.control_plane import ControlPlane
from tests.kube.operators import Fleet, Pod, fleet

from bench.figures import Figure
from bench.world import Databases, wait_until
from masterjob.concurrency.clock import clock
from masterjob.kube.status.conditions import ConditionType, find_condition

MASTERJOB_COUNT = 1_000
PODS = ("pod-a", "pod-b", "pod-c")
WINDOW = 64.0
"""Seconds at rest that are measured: eight heartbeats at default timing."""

_GROUP = "/apis/masterjob.io/v1alpha1"
_CRD = Path(__file__).parent.parent / "crds" / "masterjobs.yaml"
_CONFIG = Path(__file__).with_name("cluster.yaml")
_REQUESTS = re.compile(r'^apiserver_request_total[{].*resource="(masterjobs|events)".*[}] (\d+)$', re.MULTILINE)
_CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cluster(databases: Databases, rounds: int) -> list[Figure]:
    """Measure 1,000 resources in three replicas, at start and at rest; and one that is created and patched."""
    plane = ControlPlane()
    plane.start()
    try:
        plane.kubectl("apply", "--server-side", "-f", str(_CRD))
        plane.kubectl("wait", "--for=condition=Established", "crd/masterjobs.masterjob.io")
        with _operators(plane, databases) as operators:
            latencies = _measure_latencies(operators, rounds)
        with _operators(plane, databases) as operators:
            return [*latencies, *_measure_many(operators)]
    finally:
        plane.stop()


@contextmanager
def _operators(plane: ControlPlane, databases: Databases) -> Iterator[Fleet]:
    with (
        databases.environment("postgresql") as environment,
        tempfile.TemporaryDirectory(prefix="masterjob-bench-") as folder,
        fleet(plane, Path(folder), environment.url, plane.new_namespace()) as operators,
    ):
        yield operators


# --- 1,000 MasterJobs


def _measure_many(operators: Fleet) -> list[Figure]:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: _create_masterjob(operators, f"job-{number}"), range(MASTERJOB_COUNT)))
    requests, started_at = _count_requests(operators), clock()
    pods = operators.start(*PODS, config=_CONFIG)
    wait_until(lambda: len(_read_marks(operators, "start")) == MASTERJOB_COUNT, 0.2)
    wait_until(lambda: _count_elected(operators) == MASTERJOB_COUNT, 0.2)
    statuses_written_at, cpu = clock(), sum(map(_cpu_seconds, pods))
    start_requests = _count_requests(operators) - requests
    time.sleep(12)  # Events, and the inventory after the claims, are part of the start
    cpu_before, resting_since, requests_before = sum(map(_cpu_seconds, pods)), clock(), _count_requests(operators)
    time.sleep(WINDOW)
    share = 100 * (sum(map(_cpu_seconds, pods)) - cpu_before) / (clock() - resting_since) / len(pods)
    rest_requests = _count_requests(operators) - requests_before
    case = f"{MASTERJOB_COUNT:,} MasterJobs in {len(PODS)} operators"
    last_start_at = max(_read_marks(operators, "start"))
    return [
        Figure("start of the operators to the last start of a job", case, "s", [last_start_at - started_at]),
        Figure("start of the operators to the last status", case, "s", [statuses_written_at - started_at]),
        Figure("processor until then, all operators together", case, "s", [cpu]),
        Figure("requests to the API server until then", case, "", [float(start_requests)]),
        Figure("requests to the API server at rest, a minute", case, "", [60 * rest_requests / WINDOW]),
        Figure("processor of each operator at rest", case, "% of a core", [share]),
        Figure("memory of each operator", case, "MiB", [_memory_mib(pod) for pod in pods]),
    ]


def _count_elected(operators: Fleet) -> int:
    newest = (versions[-1].get("status", {}) for versions in operators.watch_log.all())
    return sum(find_condition(status, ConditionType.ELECTED).get("status") == "True" for status in newest)


def _count_requests(operators: Fleet) -> int:
    metrics_text = str(operators.plane.api.request("GET", "/metrics").body)
    return sum(int(number) for _, number in re.findall(_REQUESTS, metrics_text))


def _cpu_seconds(pod: Pod) -> float:
    words = Path(f"/proc/{pod.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _CLOCK_TICKS_PER_SECOND


def _memory_mib(pod: Pod) -> float:
    status = Path(f"/proc/{pod.pid}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0]) / 1024


# --- one MasterJob


def _measure_latencies(operators: Fleet, rounds: int) -> list[Figure]:
    """Create, disable and enable; through the API server directly, because kubectl takes longer to start."""
    operators.start(*PODS, config=_CONFIG)
    _create_masterjob(operators, "first")
    operators.wait_watching()
    applied, stopped, started = [], [], []
    for number in range(rounds):
        name = f"one-{number}"
        applied.append(_time_until_mark(operators, "start", partial(_create_masterjob, operators, name)))
        _sleep_randomly()
        stopped.append(_time_until_mark(operators, "stop", partial(_set_enabled, operators, name, enabled=False)))
        _sleep_randomly()
        started.append(_time_until_mark(operators, "start", partial(_set_enabled, operators, name, enabled=True)))
    case = "postgresql, 3 operators"
    return [
        Figure("a MasterJob is made to start", case, "ms", applied),
        Figure("patch enabled: false to stop", case, "ms", stopped),
        Figure("patch enabled: true to start", case, "ms", started),
    ]


def _time_until_mark(operators: Fleet, kind: str, action: Callable[[], None]) -> float:
    """Return the milliseconds from an action to the next start or stop."""
    marks_before, acted_at = len(_read_marks(operators, kind)), clock()
    action()
    wait_until(lambda: len(_read_marks(operators, kind)) > marks_before, 0.01)
    return 1000 * (_read_marks(operators, kind)[-1] - acted_at)


def _sleep_randomly() -> None:
    """Wait for a random part of a heartbeat, so that not every round is at the same phase."""
    time.sleep(random.uniform(0.6, 1.4))


def _read_marks(operators: Fleet, kind: str) -> list[float]:
    """Return the times at which jobs started, or stopped, in order."""
    file = operators.folder / "marks"
    lines = file.read_text().splitlines() if file.exists() else []
    return [float(line.split()[2]) for line in lines if line.startswith(kind)]


def _create_masterjob(operators: Fleet, name: str) -> None:
    metadata = {"name": name, "namespace": operators.namespace}
    spec = {"lockName": name.upper(), "job": "mark"} | ({} if name.startswith("job-") else {"initDelay": "0s"})
    body = {"apiVersion": "masterjob.io/v1alpha1", "kind": "MasterJob", "metadata": metadata, "spec": spec}
    answer = operators.plane.api.request("POST", f"{_GROUP}/namespaces/{operators.namespace}/masterjobs", body)
    assert answer.status == 201, answer


def _set_enabled(operators: Fleet, name: str, *, enabled: bool) -> None:
    path = f"{_GROUP}/namespaces/{operators.namespace}/masterjobs/{name}"
    answer = operators.plane.api.request(
        "PATCH", path, {"spec": {"enabled": enabled}}, "application/merge-patch+json"
    )
    assert answer.status == 200, answer
