"""Operators in their own processes on a real API server, and what users see of their MasterJobs.

    with fleet(cluster, folder, url) as operators:
        operators.start("pod-a", "pod-b", "pod-c")
        job = operators.new_masterjob()
        job.apply()
        job.wait("Ready True Elected", "JobRunning True Running")

Statuses are not polled: a watch keeps all versions (watch_log.py). At the end, all versions are checked
(kstatus.py), and so are the logs.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from typer.testing import CliRunner, Result

import masterjob
from masterjob.cli.app import app
from masterjob.concurrency.clock import clock
from masterjob.kube.status.conditions import find_condition
from masterjob.store.database import Database
from tests.envtest.control_plane import ControlPlane
from tests.envtest.run import OPERATOR_RULES
from tests.kube.failing_job import TRACEBACK_LINE
from tests.kube.kstatus import check_versions
from tests.kube.watch_log import Body, WatchLog
from tests.servers import Server
from tests.timeouts import WAIT_TIMEOUT

SHORT_LEASE: Mapping[str, Any] = {
    "initDelay": "100ms",
    "checkMasterInterval": "1s",
    "heartbeatInterval": "500ms",
    "leaseDuration": "8s",
    "stopTimeout": "2s",
}
"""For tests in which a master dies."""

LONG_LEASE: Mapping[str, Any] = {**SHORT_LEASE, "leaseDuration": "60s", "stopTimeout": "10s"}
"""For tests in which none does, however busy the machine is."""

CONFIG = Path(__file__).with_name("operators.yaml")
_ROOT = Path(__file__).parents[2]
_STRIPPED_PREFIXES = ("MASTER", "INIT_", "CHECK_", "POD_", "NODE_", "CONTAINER_", "KUBE")
_PR_SET_PDEATHSIG = 1
_BEATS_QUERY = "SELECT id, beat FROM master_session"
_WATCHES_METRIC = re.compile(
    r'^apiserver_longrunning_requests[{].*resource="masterjobs",scope="namespace".*verb="WATCH".*[}] (\d+)$',
    re.MULTILINE,
)
_libc = ctypes.CDLL(None)
_numbers = itertools.count(1)


class ExpectedCondition(NamedTuple):
    """A condition as tests write it, like ``Ready True Elected``, or ``Stalled absent``."""

    condition_type: str
    status: str
    reason: str

    @classmethod
    def parse(cls, text: str) -> Self:
        condition_type, status, *reason = text.split()
        return cls(condition_type, status, *(reason or ["absent"]))

    def is_met_by(self, status: Mapping[str, Any]) -> bool:
        found = find_condition(status, self.condition_type)  # type: ignore[arg-type]  # ConditionType is a StrEnum
        return (found.get("status", "absent"), found.get("reason", "absent")) == (self.status, self.reason)


class Pod:
    """One operator, as in a pod."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=_kill_with_parent,  # noqa: PLW1509 - it only makes a system call
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_logged(self, text: str) -> bool:
        return text in self.log.read_text()

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait(WAIT_TIMEOUT)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM, and wait for exit code 0."""
        self._process.terminate()
        self.wait()

    def wait(self) -> None:
        """Wait for exit code 0."""
        assert self._process.wait(WAIT_TIMEOUT) == 0

    def clean_up(self) -> None:
        try:
            self._process.wait(WAIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()


def _kill_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class JournalEntry(NamedTuple):
    """One line of a job's journal; ``event`` is start, stop or overlap."""

    event: str
    term: int
    pod: str


class Fleet:
    """Operators with the same database and scope, and their MasterJobs."""

    def __init__(
        self, plane: ControlPlane, folder: Path, url: str, namespace: str | None, kubeconfig: Path
    ) -> None:
        self.plane, self.folder, self.url, self.namespace = plane, folder, url, namespace
        self.pods: dict[str, Pod] = {}
        self.watch_log = WatchLog(plane.api)
        self._scope = ["--all-namespaces"] if namespace is None else ["--namespace", namespace]
        self._kubeconfig = kubeconfig

    # --- operators

    def start(self, *names: str, environment: Mapping[str, str] | None = None, config: Path = CONFIG) -> list[Pod]:
        """Start operators with these pod names; do not wait for them."""
        command = [sys.executable, "-m", "masterjob", "operator", "--kubeconfig", str(self._kubeconfig)]
        command += [*self._scope, "--config", str(config)]
        return [self.spawn(name, command, environment or {}) for name in names]

    def start_with_manifest(self, name: str, manifest: Path) -> Pod:
        """Start a controller that follows a file instead of a cluster."""
        command = [sys.executable, "-m", "masterjob", "run", str(manifest), "--config", str(CONFIG)]
        return self.spawn(name, command, {})

    def spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Pod:
        pod_variables = {
            "POD_NAME": name,
            "POD_IP": "10.0.0.1",
            "NODE_NAME": "node-1",
            "POD_UID": f"uid-of-{name}",
        }
        own_variables = {"MASTERJOB_DATABASE_URL": self.url, "MASTERJOB_LISTEN_PORT": "off"}
        own_variables |= {"PYTHON": sys.executable, "FOLDER": str(self.folder)}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_STRIPPED_PREFIXES)}
        self.pods[name] = Pod(
            name,
            command,
            {**inherited, **own_variables, **pod_variables, **environment},
            self.folder / f"{name}.log",
        )
        return self.pods[name]

    def terminate_all(self) -> None:
        """Send SIGTERM to all operators at once, and wait for exit code 0."""
        self.terminate(*self.pods)

    def terminate(self, *names: str) -> None:
        """Send SIGTERM to these operators at once, and wait for exit code 0."""
        running = [self.pods[name] for name in names if self.pods[name].is_alive]
        for pod in running:
            pod.send_signal(signal.SIGTERM)
        for pod in running:
            pod.wait()

    def run_cli(self, *arguments: str) -> Result:
        """Run a masterjob command on this database."""
        environment = {"MASTERJOB_DATABASE_URL": self.url, "MASTERJOB_CONFIG": ""}
        return CliRunner().invoke(app, list(arguments), env=environment, prog_name="masterjob")

    def run_cli_json(self, *arguments: str) -> Any:
        result = self.run_cli(*arguments, "--output", "json")
        assert result.exit_code in (0, 1), result.output
        return json.loads(result.stdout)

    def query(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        with Database(self.url).connect_admin() as connection:
            return list(connection.fetch_all(statement))

    def candidate_pods(self) -> set[str]:
        """Return the pods that have a session, and so are candidates."""
        return {row.pod for row in self.query("SELECT pod FROM master_session")}

    def wait_watching(self) -> None:
        """Wait until all operators have a session and a watch, so that they know all changes so far."""
        running = {pod.name for pod in self.pods.values() if pod.is_alive}
        self.wait(lambda: self.candidate_pods() == running, "all sessions")
        self.wait(lambda: self._count_watches() == len(running), "all watches")

    def _count_watches(self) -> int:
        """Return the number of watches of MasterJobs in single namespaces, from the metrics of the API server."""
        found = re.findall(_WATCHES_METRIC, self.plane.api.request("GET", "/metrics").body)
        return sum(int(each) for each in found)

    def wait_heartbeats(self, count: int) -> None:
        """Wait until an instance has renewed its session ``count`` times."""
        before = dict(map(tuple, self.query(_BEATS_QUERY)))

        def has_advanced() -> bool:
            return any(beat >= before.get(name, beat) + count for name, beat in self.query(_BEATS_QUERY))

        self.wait(has_advanced, f"{count} heartbeats")

    def close(self) -> None:
        """Stop all operators and the watch."""
        self.watch_log.close()
        for pod in self.pods.values():
            if pod.is_alive:
                pod.send_signal(signal.SIGTERM)
        for pod in self.pods.values():
            pod.clean_up()
        self.watch_log.join()

    def check_invariants(self) -> None:
        """Check all versions of the MasterJobs in scope, and the logs."""
        for versions in self.watch_log.all():
            if self.namespace in (None, versions[-1]["metadata"]["namespace"]):
                check_versions(versions)
        logs = {pod.name: pod.log.read_text() for pod in self.pods.values()}
        for name, log in logs.items():
            lines = [line.strip() for line in log.splitlines()]
            tracebacks = sum(line.startswith("Traceback") for line in lines)
            assert tracebacks <= lines.count(TRACEBACK_LINE), f"{name}: {log}"
            assert "a defect" not in log, f"{name}: {log}"

    # --- MasterJobs

    def new_masterjob(self, lock_name: str | None = None) -> "MasterJobHandle":
        """Return a MasterJob that does not exist yet; if all namespaces are followed, in a new one."""
        number = next(_numbers)
        namespace = self.namespace or self.plane.new_namespace()
        return MasterJobHandle(self, namespace, f"job-{number}", lock_name or f"LOCK-{number}")

    def wait(
        self, is_true: Callable[[], bool], description: str, details: Callable[[], object] = lambda: ""
    ) -> None:
        """Wait until ``is_true()``, which is called whenever a MasterJob has changed, and every 50 ms."""
        condition, deadline = self.watch_log.condition, clock() + WAIT_TIMEOUT
        with condition:
            while clock() < deadline:
                if is_true():
                    return
                condition.wait(0.05)
        raise AssertionError(f"timed out waiting for {description} {details()}\n{self.diagnostics()}")

    def diagnostics(self) -> str:
        """Return the statuses and logs that help to see why a test failed."""
        newest = [versions[-1] for versions in self.watch_log.all()]
        statuses = [f"{each['metadata']['name']}: {yaml.safe_dump(each.get('status'))}" for each in newest]
        logs = [
            f"{pod.name} (alive: {pod.is_alive}):\n{pod.log.read_text()[-3000:]}" for pod in self.pods.values()
        ]
        return "\n".join([*statuses[-2:], *logs])


@contextlib.contextmanager
def fleet(plane: ControlPlane, folder: Path, url: str, namespace: str | None = None) -> Iterator[Fleet]:
    """Yield a fleet for one namespace, with a Role, or for all namespaces, with a ClusterRole.

    There can be only one fleet for all namespaces at a time; MasterJobs that others have left are deleted first.
    """
    if namespace is None:
        plane.kubectl("delete", "mj", "--all", "--all-namespaces")
    kubeconfig = plane.kubeconfig_for(
        "masterjob", *OPERATOR_RULES, namespace=namespace or "default", cluster_wide=namespace is None
    )
    masterjob.status(database=url)  # creates the tables, or each operator would try to
    operators = Fleet(plane, folder, url, namespace, kubeconfig)
    try:
        yield operators
    finally:
        operators.close()
    operators.check_invariants()


def new_database(server: Server | None, folder: Path) -> str:
    """Return the URL of a new database, on the server if there is one, else on SQLite."""
    return f"sqlite:///{folder / 'masterjob.sqlite3'}" if server is None else server.create_database()


class MasterJobHandle:
    """A MasterJob, as users change and see it with kubectl."""

    def __init__(self, operators: Fleet, namespace: str, name: str, lock_name: str) -> None:
        self.fleet, self.namespace, self.name, self.lock_name = operators, namespace, name, lock_name
        self._generation = 0
        self._uid = ""

    # --- changes

    def body(self, spec: Mapping[str, Any]) -> Body:
        return {
            "apiVersion": "masterjob.io/v1alpha1",
            "kind": "MasterJob",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"lockName": self.lock_name, **spec},
        }

    def apply(self, field_manager: str = "kubectl", **spec: Any) -> None:
        """Apply the journal job with a long lease, changed by ``spec``, server-side."""
        self.apply_fields(field_manager, **{"job": "journal", **LONG_LEASE, **spec})

    def apply_fields(self, field_manager: str, **spec: Any) -> None:
        """Apply only these fields, server-side, as that field manager."""
        arguments = ("apply", "--server-side", f"--field-manager={field_manager}", "-f", "-", "-o", "json")
        self._record_metadata(self.fleet.plane.kubectl(*arguments, stdin=yaml.safe_dump(self.body(spec))).stdout)

    def patch(self, **spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        self._record_metadata(self.kubectl("patch", "--type=merge", f"--patch={patch}", "-o", "json"))

    def delete(self) -> None:
        self.kubectl("delete")
        self._generation = 0

    def delete_if_exists(self) -> None:
        """Delete it, if it exists."""
        self.kubectl("delete", "--ignore-not-found", "--wait=false")

    def kubectl(self, verb: str, *arguments: str) -> str:
        """Run kubectl on it, which must succeed."""
        return self.fleet.plane.kubectl(verb, f"mj/{self.name}", "--namespace", self.namespace, *arguments).stdout

    def _record_metadata(self, output: str) -> None:
        metadata = json.loads(output)["metadata"]
        self._generation, self._uid = metadata["generation"], metadata["uid"]

    # --- status

    @property
    def versions(self) -> list[Body]:
        """Every version so far, of this object and of earlier ones with its name."""
        return self.fleet.watch_log.versions(self.namespace, self.name)

    @property
    def exists(self) -> bool:
        return self.fleet.watch_log.exists(self.namespace, self.name)

    @property
    def uid(self) -> str:
        return self._uid

    @property
    def status(self) -> Mapping[str, Any]:
        """The newest status; empty while it is older than the last change."""
        newest = self.versions[-1] if self.versions else None
        if newest is None or newest["metadata"]["uid"] != self._uid:
            return {}
        return newest.get("status", {}) if newest["metadata"]["generation"] >= self._generation else {}

    def has_conditions(self, *conditions: str) -> bool:
        """Return whether the status reflects the last change, and has these conditions."""
        is_observed = self.status.get("observedGeneration", -1) >= self._generation
        return is_observed and all(ExpectedCondition.parse(each).is_met_by(self.status) for each in conditions)

    def wait(self, *conditions: str) -> Mapping[str, Any]:
        """Wait until the status reflects the last change and has these conditions; return it."""
        self.fleet.wait(lambda: self.has_conditions(*conditions), f"{self.name}: {', '.join(conditions)}")
        return self.status

    def wait_any_generation(self, *conditions: str) -> Mapping[str, Any]:
        """Wait for these conditions, even if the status does not reflect the last change."""
        expected = [ExpectedCondition.parse(each) for each in conditions]
        self.fleet.wait(
            lambda: all(each.is_met_by(self.status) for each in expected), f"{self.name}: {conditions}"
        )
        return self.status

    def find_past_status(self, *conditions: str) -> Mapping[str, Any] | None:
        """Return the first status so far that had these conditions, or None."""
        expected = [ExpectedCondition.parse(each) for each in conditions]
        statuses = [body.get("status", {}) for body in self.versions]
        return next((status for status in statuses if all(each.is_met_by(status) for each in expected)), None)

    def allow_stop(self) -> None:
        """Make the slow job return from its stop."""
        (self.fleet.folder / f"{self.lock_name}.may-stop").touch()

    def wait_past_status(self, *conditions: str) -> Mapping[str, Any]:
        """Wait until a status has had these conditions, even briefly; return it."""
        self.fleet.wait(
            lambda: self.find_past_status(*conditions) is not None, f"{self.name} to have had {conditions}"
        )
        return self.find_past_status(*conditions) or {}

    def message(self, condition_type: str) -> str:
        return str(find_condition(self.status, condition_type)["message"])  # type: ignore[arg-type]  # ConditionType is a StrEnum

    @property
    def master(self) -> str:
        """The pod that is master; empty if there is none."""
        return str(self.status.get("master", {}).get("pod", ""))

    @property
    def term(self) -> int:
        return int(self.status.get("term", 0))

    @property
    def transition_times(self) -> dict[str, str]:
        """The last transition time of each condition."""
        return {each["type"]: each["lastTransitionTime"] for each in self.status["conditions"]}

    # --- the job and the database

    @property
    def journal(self) -> list[JournalEntry]:
        """The lines that the job has written itself."""
        path = self.fleet.folder / f"{self.lock_name}.journal"
        rows = path.read_text().splitlines() if path.exists() else []
        return [JournalEntry(what, int(term), pod) for what, term, pod in map(str.split, rows)]

    @property
    def start_count(self) -> int:
        return sum(line.event == "start" for line in self.journal)

    def wait_running_in(self, pod: str) -> None:
        """Wait until the journal says that the job runs in ``pod``; it must never have run twice at once."""

        def is_running() -> bool:
            return any((line.event, line.pod) == ("start", pod) for line in self.journal[-1:])

        self.fleet.wait(is_running, f"{self.lock_name} to run in {pod}")
        assert not [line for line in self.journal if line.event == "overlap"]

    def wait_started(self, count: int) -> JournalEntry:
        """Wait until the job was started ``count`` times, and runs; return the last line of the journal."""
        self.fleet.wait(lambda: self.start_count >= count, f"{self.lock_name} to be started {count} times")
        assert self.journal[-1].event == "start"
        return self.journal[-1]

    def wait_stopped(self) -> None:
        self.fleet.wait(lambda: self.journal[-1].event == "stop", f"{self.lock_name} to have stopped")

    @property
    def history(self) -> list[str]:
        """The events of the lock in the database, the oldest first."""
        return [
            each["kind"]
            for each in reversed(self.fleet.run_cli_json("history", self.lock_name, "--limit", "1000"))
        ]

    def wait_history(self, *kinds: str) -> None:
        """Wait for these steps of the election, in any order: a release is answered after the lock is free."""

        def steps() -> list[str]:
            return [kind for kind in self.history if kind in ("elected", "stepped down", "evicted")]

        self.fleet.wait(lambda: sorted(steps()) == sorted(kinds), f"history {kinds}", lambda: self.history)

    # --- Events and writes

    def events(self) -> list[Body]:
        """Return its Events, ordered by time."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        items = self.fleet.plane.api.get(path)["items"]
        own_events = [each for each in items if each["regarding"]["name"] == self.name]
        return sorted(own_events, key=lambda each: str(each["eventTime"]))

    def event_reasons(self) -> list[str]:
        return [each["reason"] for each in self.events()]

    def wait_events(self, *reasons: str) -> None:
        """Wait for exactly these Events, in any order."""
        description = f"Events {reasons} of {self.name}"
        self.fleet.wait(lambda: sorted(self.event_reasons()) == sorted(reasons), description, self.event_reasons)

    def write_count(self) -> int:
        """Return how often its status was written successfully, from the audit log of the API server."""
        return sum(each["responseStatus"]["code"] == 200 for each in self._audit_entries())

    def write_attempt_count(self) -> int:
        """Return how often a write of its status was attempted."""
        return len(self._audit_entries())

    def _audit_entries(self) -> list[Body]:
        object_ref = {
            "resource": "masterjobs",
            "subresource": "status",
            "namespace": self.namespace,
            "name": self.name,
        }
        found = self.fleet.plane.api.audit_entries()
        return [each for each in found if object_ref.items() <= each["objectRef"].items()]
