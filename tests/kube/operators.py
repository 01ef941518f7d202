"""Operators in processes of their own on a real API server, and what people see of their MasterJobs.

    with fleet(cluster, folder, url) as operators:
        operators.start("pod-a", "pod-b", "pod-c")
        job = operators.new_masterjob()
        job.apply()
        job.wait("Ready True Elected", "JobRunning True Running")

Of a status nothing is polled: a watch keeps all versions (watch_log.py). At the end each of them is judged
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

TIMEOUT = 45.0
"""Seconds; it is there only so that a failure ends."""

SHORT_LEASE: Mapping[str, Any] = {
    "initDelay": "100ms",
    "checkMasterInterval": "1s",
    "heartbeatInterval": "500ms",
    "leaseDuration": "4s",
    "stopTimeout": "300ms",
}
"""For tests in which somebody dies."""

LONG_LEASE: Mapping[str, Any] = {**SHORT_LEASE, "leaseDuration": "10s"}
"""For tests in which nobody does, however busy the machine is."""

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
    """A condition as a test names it, like ``Ready True Elected``; a status that is absent has no reason."""

    condition_type: str
    status: str
    reason: str

    @classmethod
    def parse(cls, text: str) -> Self:
        condition_type, status, *reason = text.split()
        return cls(condition_type, status, *(reason or ["absent"]))

    def is_met_by(self, status: Mapping[str, Any]) -> bool:
        found = find_condition(status, self.condition_type)  # type: ignore[arg-type]  # a Kind is text
        return (found.get("status", "absent"), found.get("reason", "absent")) == (self.status, self.reason)


class Pod:
    """One operator: what runs in a pod."""

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
                preexec_fn=_kill_with_parent,  # noqa: PLW1509 - it calls the kernel, and nothing of ours
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
        """Kill -9."""
        self._process.kill()
        self._process.wait(TIMEOUT)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM; it has to end with 0."""
        self._process.terminate()
        self.wait()

    def wait(self) -> None:
        """Wait for its end, which has to be with 0."""
        assert self._process.wait(TIMEOUT) == 0

    def clean_up(self) -> None:
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()


def _kill_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class JournalEntry(NamedTuple):
    """One of the journal: ``start``, ``stop`` or ``overlap``."""

    event: str
    term: int
    pod: str


class Fleet:
    """Operators of one database and one scope, and their MasterJobs."""

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
        """Start operators in pods of these names, and let them come up by themselves."""
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
        """SIGTERM to all of them at once."""
        running = [pod for pod in self.pods.values() if pod.is_alive]
        for pod in running:
            pod.send_signal(signal.SIGTERM)
        for pod in running:
            pod.wait()

    def run_cli(self, *arguments: str) -> Result:
        """Run a command of the terminal on this database."""
        environment = {"MASTERJOB_DATABASE_URL": self.url, "MASTERJOB_CONFIG": ""}
        return CliRunner().invoke(app, list(arguments), env=environment, prog_name="masterjob")

    def run_cli_json(self, *arguments: str) -> Any:
        result = self.run_cli(*arguments, "--output", "json")
        assert result.exit_code in (0, 1), result.output
        return json.loads(result.stdout)

    def query(self, statement: str) -> list[Any]:
        """Return what the database has."""
        with Database(self.url).connect_admin() as connection:
            return list(connection.fetch_all(statement))

    def candidate_pods(self) -> set[str]:
        """The pods that have a session, and so compete for something."""
        return {row.pod for row in self.query("SELECT pod FROM master_session")}

    def wait_watching(self) -> None:
        """Wait until all of them compete and hear, so that whatever was said by now is known to each."""
        running = {pod.name for pod in self.pods.values() if pod.is_alive}
        self.wait(lambda: self.candidate_pods() == running, "all to compete")
        self.wait(lambda: self._count_watches() == len(running), "all to hear")

    def _count_watches(self) -> int:
        """How many watches there are of MasterJobs in single namespaces, by the API server's word."""
        found = re.findall(_WATCHES_METRIC, self.plane.api.request("GET", "/metrics").body)
        return sum(int(each) for each in found)

    def wait_heartbeats(self, count: int) -> None:
        """Wait until some instance has renewed its session so many times."""
        before = dict(map(tuple, self.query(_BEATS_QUERY)))

        def has_advanced() -> bool:
            return any(beat >= before.get(name, beat) + count for name, beat in self.query(_BEATS_QUERY))

        self.wait(has_advanced, f"{count} heartbeats")

    def close(self) -> None:
        """End all; whatever was seen meanwhile must have been right."""
        self.watch_log.close()
        for pod in self.pods.values():
            if pod.is_alive:
                pod.send_signal(signal.SIGTERM)
        for pod in self.pods.values():
            pod.clean_up()
        self.watch_log.join()

    def check_invariants(self) -> None:
        """Judge all that was seen where these operators were."""
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
        """Return one that is not there yet; where all namespaces are followed, in one of its own."""
        number = next(_numbers)
        namespace = self.namespace or self.plane.new_namespace()
        return MasterJobHandle(self, namespace, f"job-{number}", lock_name or f"LOCK-{number}")

    def wait(
        self, is_true: Callable[[], bool], description: str, details: Callable[[], object] = lambda: ""
    ) -> None:
        """Wait until this is true, which is asked whenever a MasterJob has changed, and now and then."""
        condition, deadline = self.watch_log.condition, clock() + TIMEOUT
        with condition:
            while clock() < deadline:
                if is_true():
                    return
                condition.wait(0.05)
        raise AssertionError(f"waited in vain for {description} {details()}\n{self.diagnostics()}")

    def diagnostics(self) -> str:
        """All that helps to see why a test failed."""
        newest = [versions[-1] for versions in self.watch_log.all()]
        statuses = [f"{each['metadata']['name']}: {yaml.safe_dump(each.get('status'))}" for each in newest]
        logs = [
            f"{pod.name} (alive: {pod.is_alive}):\n{pod.log.read_text()[-3000:]}" for pod in self.pods.values()
        ]
        return "\n".join([*statuses[-2:], *logs])


@contextlib.contextmanager
def fleet(plane: ControlPlane, folder: Path, url: str, namespace: str | None = None) -> Iterator[Fleet]:
    """A fleet for one namespace, with a Role, or for all of them, with a ClusterRole: of the rights that it needs.

    Of those for all there can be one at a time, and what others have left in the cluster is removed before.
    """
    if namespace is None:
        plane.kubectl("delete", "mj", "--all", "--all-namespaces")
    kubeconfig = plane.kubeconfig_for(
        "masterjob", *OPERATOR_RULES, namespace=namespace or "default", cluster_wide=namespace is None
    )
    masterjob.status(database=url)  # makes the tables, which takes each of them longer than all the rest
    operators = Fleet(plane, folder, url, namespace, kubeconfig)
    try:
        yield operators
    finally:
        operators.close()
    operators.check_invariants()


def new_database(server: Server | None, folder: Path) -> str:
    """A database of its own: on the server, or where there is none on SQLite."""
    return f"sqlite:///{folder / 'masterjob.sqlite3'}" if server is None else server.create_database()


class MasterJobHandle:
    """A MasterJob: what people do to it with kubectl, and what they see of it."""

    def __init__(self, operators: Fleet, namespace: str, name: str, lock_name: str) -> None:
        self.fleet, self.namespace, self.name, self.lock_name = operators, namespace, name, lock_name
        self._generation = 0
        self._uid = ""

    # --- what people do

    def body(self, spec: Mapping[str, Any]) -> Body:
        return {
            "apiVersion": "masterjob.io/v1alpha1",
            "kind": "MasterJob",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"lockName": self.lock_name, **spec},
        }

    def apply(self, field_manager: str = "kubectl", **spec: Any) -> None:
        """Apply it on the server's side: a calm one, but for what is said."""
        self.apply_fields(field_manager, **{"job": "journal", **LONG_LEASE, **spec})

    def apply_fields(self, field_manager: str, **spec: Any) -> None:
        """Apply these fields alone on the server's side, as one of that name."""
        arguments = ("apply", "--server-side", f"--field-manager={field_manager}", "-f", "-", "-o", "json")
        self._record_metadata(self.fleet.plane.kubectl(*arguments, stdin=yaml.safe_dump(self.body(spec))).stdout)

    def patch(self, **spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        self._record_metadata(self.kubectl("patch", "--type=merge", f"--patch={patch}", "-o", "json"))

    def delete(self) -> None:
        self.kubectl("delete")
        self._generation = 0

    def delete_if_exists(self) -> None:
        """Have it deleted, if it is there."""
        self.kubectl("delete", "--ignore-not-found", "--wait=false")

    def kubectl(self, verb: str, *arguments: str) -> str:
        """Run kubectl on it; it must succeed."""
        return self.fleet.plane.kubectl(verb, f"mj/{self.name}", "--namespace", self.namespace, *arguments).stdout

    def _record_metadata(self, output: str) -> None:
        metadata = json.loads(output)["metadata"]
        self._generation, self._uid = metadata["generation"], metadata["uid"]

    # --- what people see

    @property
    def versions(self) -> list[Body]:
        """Every version that was seen, of this object and of others before it of the same name."""
        return self.fleet.watch_log.versions(self.namespace, self.name)

    @property
    def exists(self) -> bool:
        return self.fleet.watch_log.exists(self.namespace, self.name)

    @property
    def uid(self) -> str:
        return self._uid

    @property
    def status(self) -> Mapping[str, Any]:
        """The newest; empty as long as it is older than what was said to it last."""
        newest = self.versions[-1] if self.versions else None
        if newest is None or newest["metadata"]["uid"] != self._uid:
            return {}
        return newest.get("status", {}) if newest["metadata"]["generation"] >= self._generation else {}

    def has_conditions(self, *conditions: str) -> bool:
        """Whether the status answers what was said last, and says these."""
        is_observed = self.status.get("observedGeneration", -1) >= self._generation
        return is_observed and all(ExpectedCondition.parse(each).is_met_by(self.status) for each in conditions)

    def wait(self, *conditions: str) -> Mapping[str, Any]:
        """Wait until the status answers what was said last, and says these; return it."""
        self.fleet.wait(lambda: self.has_conditions(*conditions), f"{self.name}: {', '.join(conditions)}")
        return self.status

    def wait_any_generation(self, *conditions: str) -> Mapping[str, Any]:
        """Wait as `wait` does, also where nobody can tell whether what was said last is obeyed."""
        expected = [ExpectedCondition.parse(each) for each in conditions]
        self.fleet.wait(
            lambda: all(each.is_met_by(self.status) for each in expected), f"{self.name}: {conditions}"
        )
        return self.status

    def find_past_status(self, *conditions: str) -> Mapping[str, Any] | None:
        """Return a status that says these, as it was there at some time, or None."""
        expected = [ExpectedCondition.parse(each) for each in conditions]
        statuses = [body.get("status", {}) for body in self.versions]
        return next((status for status in statuses if all(each.is_met_by(status) for each in expected)), None)

    def allow_stop(self) -> None:
        """Have the job that is called slow return from its stop."""
        (self.fleet.folder / f"{self.lock_name}.may-stop").touch()

    def wait_past_status(self, *conditions: str) -> Mapping[str, Any]:
        """Wait until a status has said these, be it for a moment; return it."""
        self.fleet.wait(
            lambda: self.find_past_status(*conditions) is not None, f"{self.name} to have said {conditions}"
        )
        return self.find_past_status(*conditions) or {}

    def message(self, condition_type: str) -> str:
        return str(find_condition(self.status, condition_type)["message"])  # type: ignore[arg-type]  # a Kind is text

    @property
    def master(self) -> str:
        """The pod that is master; empty where none is."""
        return str(self.status.get("master", {}).get("pod", ""))

    @property
    def term(self) -> int:
        return int(self.status.get("term", 0))

    @property
    def transition_times(self) -> dict[str, str]:
        """Since when each condition is as it is."""
        return {each["type"]: each["lastTransitionTime"] for each in self.status["conditions"]}

    # --- what really is

    @property
    def journal(self) -> list[JournalEntry]:
        """What the job has written itself."""
        path = self.fleet.folder / f"{self.lock_name}.journal"
        rows = path.read_text().splitlines() if path.exists() else []
        return [JournalEntry(what, int(term), pod) for what, term, pod in map(str.split, rows)]

    @property
    def start_count(self) -> int:
        return sum(line.event == "start" for line in self.journal)

    def wait_running_in(self, pod: str) -> None:
        """Wait until the job runs there, by its own words; it must never have run twice at once."""

        def is_running() -> bool:
            return any((line.event, line.pod) == ("start", pod) for line in self.journal[-1:])

        self.fleet.wait(is_running, f"{self.lock_name} to run in {pod}")
        assert not [line for line in self.journal if line.event == "overlap"]

    def wait_started(self, count: int) -> JournalEntry:
        """Wait until the job has been started so many times, and runs; return its last line."""
        self.fleet.wait(lambda: self.start_count >= count, f"{self.lock_name} to be started {count} times")
        assert self.journal[-1].event == "start"
        return self.journal[-1]

    def wait_stopped(self) -> None:
        self.fleet.wait(lambda: self.journal[-1].event == "stop", f"{self.lock_name} to have stopped")

    @property
    def history(self) -> list[str]:
        """What happened to the lock, by the database, the oldest first."""
        return [
            each["kind"]
            for each in reversed(self.fleet.run_cli_json("history", self.lock_name, "--limit", "1000"))
        ]

    def wait_history(self, *kinds: str) -> None:
        """Wait until this is the history, in whichever order: each pod writes its own lines, after the deed."""
        self.fleet.wait(lambda: sorted(self.history) == sorted(kinds), f"history {kinds}", lambda: self.history)

    # --- what was written

    def events(self) -> list[Body]:
        """The Events that there are of it, in the order of their time."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        items = self.fleet.plane.api.get(path)["items"]
        own_events = [each for each in items if each["regarding"]["name"] == self.name]
        return sorted(own_events, key=lambda each: str(each["eventTime"]))

    def event_reasons(self) -> list[str]:
        return [each["reason"] for each in self.events()]

    def wait_events(self, *reasons: str) -> None:
        """Wait until there are just these Events, in whichever order."""
        description = f"Events {reasons} of {self.name}"
        self.fleet.wait(lambda: sorted(self.event_reasons()) == sorted(reasons), description, self.event_reasons)

    def write_count(self) -> int:
        """How many times its status was written, by the API server's own log; what was refused is not counted."""
        return sum(each["responseStatus"]["code"] == 200 for each in self._audit_entries())

    def write_attempt_count(self) -> int:
        """How many times somebody tried to write it."""
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
