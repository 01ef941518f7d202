"""MasterJobs of a real API server: three operators for 1,000 of them, and how fast they obey."""

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
from masterjob.election.clock import clock
from masterjob.kube.status.conditions import Kind, find

MANY = 1_000
PODS = ("pod-a", "pod-b", "pod-c")
WINDOW = 64.0
"""Seconds of rest that are measured: eight heartbeats at default timing."""

_GROUP = "/apis/masterjob.io/v1alpha1"
_CRD = Path(__file__).parent.parent / "crds" / "masterjobs.yaml"
_CONFIG = Path(__file__).with_name("cluster.yaml")
_REQUESTS = re.compile(r'^apiserver_request_total[{].*resource="(masterjobs|events)".*[}] (\d+)$', re.MULTILINE)
_TICK = os.sysconf("SC_CLK_TCK")


def cluster(databases: Databases, rounds: int) -> list[Figure]:
    """1,000 resources in three replicas, from a cold start and at rest; one that is made, patched off and on."""
    plane = ControlPlane()
    plane.start()
    try:
        plane.kubectl("apply", "--server-side", "-f", str(_CRD))
        plane.kubectl("wait", "--for=condition=Established", "crd/masterjobs.masterjob.io")
        with _operators(plane, databases) as operators:
            switched = _obeyed(operators, rounds)
        with _operators(plane, databases) as operators:
            return [*switched, *_many(operators)]
    finally:
        plane.stop()


@contextmanager
def _operators(plane: ControlPlane, databases: Databases) -> Iterator[Fleet]:
    with (
        databases.world("postgresql") as world,
        tempfile.TemporaryDirectory(prefix="masterjob-bench-") as folder,
        fleet(plane, Path(folder), world.url, plane.new_namespace()) as operators,
    ):
        yield operators


# --- 1,000 of them


def _many(operators: Fleet) -> list[Figure]:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: _make(operators, f"job-{number}"), range(MANY)))
    requests, began = _requests(operators), clock()
    pods = operators.start(*PODS, config=_CONFIG)
    wait_until(lambda: len(_marks(operators, "start")) == MANY, 0.2)
    wait_until(lambda: _elected(operators) == MANY, 0.2)
    told, cpu = clock(), sum(map(_cpu, pods))
    asked = _requests(operators) - requests
    time.sleep(12)  # Events, and the inventory after the claims, are part of the start
    rest, since, at_rest = sum(map(_cpu, pods)), clock(), _requests(operators)
    time.sleep(WINDOW)
    share = 100 * (sum(map(_cpu, pods)) - rest) / (clock() - since) / len(pods)
    later = _requests(operators) - at_rest
    case = f"{MANY:,} MasterJobs in {len(PODS)} operators"
    last = max(_marks(operators, "start"))
    return [
        Figure("start of the operators to the last start of a job", case, "s", [last - began]),
        Figure("start of the operators to the last status", case, "s", [told - began]),
        Figure("processor until then, all operators together", case, "s", [cpu]),
        Figure("requests to the API server until then", case, "", [float(asked)]),
        Figure("requests to the API server at rest, a minute", case, "", [60 * later / WINDOW]),
        Figure("processor of each operator at rest", case, "% of a core", [share]),
        Figure("memory of each operator", case, "MiB", [_memory(pod) for pod in pods]),
    ]


def _elected(operators: Fleet) -> int:
    newest = (versions[-1].get("status", {}) for versions in operators.chronicle.all())
    return sum(find(status, Kind.ELECTED).get("status") == "True" for status in newest)


def _requests(operators: Fleet) -> int:
    said = str(operators.plane.api.ask("GET", "/metrics").said)
    return sum(int(number) for _, number in re.findall(_REQUESTS, said))


def _cpu(pod: Pod) -> float:
    words = Path(f"/proc/{pod.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICK


def _memory(pod: Pod) -> float:
    status = Path(f"/proc/{pod.pid}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0]) / 1024


# --- one of them


def _obeyed(operators: Fleet, rounds: int) -> list[Figure]:
    """Made, patched off, patched on; asked of the API server directly, since kubectl takes longer to start."""
    operators.start(*PODS, config=_CONFIG)
    _make(operators, "first")
    operators.wait_followed()
    applied, stopped, started = [], [], []
    for number in range(rounds):
        name = f"one-{number}"
        applied.append(_until(operators, "start", partial(_make, operators, name)))
        _pause()
        stopped.append(_until(operators, "stop", partial(_patch, operators, name, enabled=False)))
        _pause()
        started.append(_until(operators, "start", partial(_patch, operators, name, enabled=True)))
    case = "postgresql, 3 operators"
    return [
        Figure("a MasterJob is made to start", case, "ms", applied),
        Figure("patch enabled: false to stop", case, "ms", stopped),
        Figure("patch enabled: true to start", case, "ms", started),
    ]


def _until(operators: Fleet, what: str, act: Callable[[], None]) -> float:
    """Return the milliseconds from an act to the next start or stop."""
    before, at = len(_marks(operators, what)), clock()
    act()
    wait_until(lambda: len(_marks(operators, what)) > before, 0.01)
    return 1000 * (_marks(operators, what)[-1] - at)


def _pause() -> None:
    """Let some part of a heartbeat pass, so that rounds do not all meet the same moment of one."""
    time.sleep(random.uniform(0.6, 1.4))


def _marks(operators: Fleet, what: str) -> list[float]:
    """When jobs have started, or stopped, in order."""
    file = operators.folder / "marks"
    lines = file.read_text().splitlines() if file.exists() else []
    return [float(line.split()[2]) for line in lines if line.startswith(what)]


def _make(operators: Fleet, name: str) -> None:
    metadata = {"name": name, "namespace": operators.namespace}
    spec = {"lockName": name.upper(), "job": "mark"} | ({} if name.startswith("job-") else {"initDelay": "0s"})
    body = {"apiVersion": "masterjob.io/v1alpha1", "kind": "MasterJob", "metadata": metadata, "spec": spec}
    answer = operators.plane.api.ask("POST", f"{_GROUP}/namespaces/{operators.namespace}/masterjobs", body)
    assert answer.status == 201, answer


def _patch(operators: Fleet, name: str, *, enabled: bool) -> None:
    path = f"{_GROUP}/namespaces/{operators.namespace}/masterjobs/{name}"
    answer = operators.plane.api.ask("PATCH", path, {"spec": {"enabled": enabled}}, "application/merge-patch+json")
    assert answer.status == 200, answer
