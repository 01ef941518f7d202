"""A cluster as the end-to-end tests use it, through kubectl and Helm."""

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import yaml

from tests.e2e.record import QUERY, Row
from tests.e2e.sample import TABLE
from tests.envtest.programs import find_program
from tests.servers import Unavailable

E2E_DIR = Path(__file__).parent
CHART = E2E_DIR.parents[1] / "charts" / "masterjob"
LOCKS = ("ALPHA", "BETA", "GAMMA")
CRD_NAME = "masterjobs.masterjob.io"
TIMEOUT = 120.0

_sleep_event = Event()

_KILL_SCRIPT = """
import os, pathlib, signal
def is_operator(directory):
    try:
        return (b"POD_UID=%s" in (directory / "environ").read_bytes().split(b"\\0")
                and b"operator" in (directory / "cmdline").read_bytes().split(b"\\0"))
    except OSError:
        return False
(found,) = [directory for directory in pathlib.Path("/proc").glob("[0-9]*") if is_operator(directory)]
os.kill(int(found.name), signal.SIGKILL)
"""
"""Kill -9 from the node: process 1 of a container cannot be killed from inside."""


def find_program_or_name(name: str) -> str:
    """Return the path of kubectl or helm as installed for the tests, otherwise its name."""
    with contextlib.suppress(Unavailable):
        return str(find_program(name))
    return name


class Cluster:
    """A namespace of a cluster, with PostgreSQL and the release in it."""

    def __init__(self, kubeconfig: Path, namespace: str, image: str, postgres_image: str | None = None) -> None:
        self.namespace, self.image = namespace, image
        self._kubeconfig, self._postgres_image = kubeconfig, postgres_image

    # --- programs

    def run(self, name: str, *arguments: str, stdin: str | None = None, timeout: float = TIMEOUT) -> str:
        """Run kubectl or helm in the namespace; fail if it does."""
        result = subprocess.run(
            [find_program_or_name(name), *self._connection_arguments(), *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout + 60,
        )
        assert result.returncode == 0, f"{name} {' '.join(arguments)}: {result.stdout}{result.stderr}"
        return result.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.run("kubectl", *arguments, stdin=stdin)

    def get_json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def _connection_arguments(self) -> Sequence[str]:
        return ["--kubeconfig", str(self._kubeconfig), "--namespace", self.namespace]

    # --- content

    def create_namespace(self) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    def start_database(self) -> None:
        """Start PostgreSQL, with the table of the sample job, and provide the code of that job."""
        manifest = (E2E_DIR / "postgresql.yaml").read_text()
        if self._postgres_image:
            manifest = re.sub(r"image: postgres:.*", f"image: {self._postgres_image}", manifest)
        self.kubectl("apply", "-f", "-", stdin=manifest)
        self.kubectl("rollout", "status", "deploy/postgresql", f"--timeout={TIMEOUT:.0f}s")
        self.sql(TABLE)
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "code"},
            "data": {"sample.py": (E2E_DIR / "sample.py").read_text()},
        }
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(config_map))

    def install(self, *extra_arguments: str) -> str:
        """Install or upgrade the release, and wait until every pod and every job runs."""
        repository, _, tag = self.image.rpartition(":")
        image = ("--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}")
        arguments = [
            "upgrade",
            "masterjob",
            str(CHART),
            "--install",
            "--values",
            str(E2E_DIR / "values.yaml"),
            *image,
        ]
        if self.has_foreign_crd:
            arguments += ["--set", "crds.enabled=false"]
        output = self.run("helm", *arguments, "--wait", "--timeout", f"{TIMEOUT:.0f}s", *extra_arguments)
        self.wait_running()
        return output

    @property
    def has_foreign_crd(self) -> bool:
        """Whether the definition of MasterJob in the cluster belongs to another release."""
        found = self.kubectl("get", "crd", CRD_NAME, "--ignore-not-found", "-o", "json")
        annotations = json.loads(found)["metadata"].get("annotations", {}) if found else {}
        return bool(found) and annotations.get("meta.helm.sh/release-namespace") != self.namespace

    def wait_running(self) -> None:
        """Wait until exactly three pods are left, all ready, and every job runs."""
        self.kubectl("rollout", "status", "deploy/masterjob", f"--timeout={TIMEOUT:.0f}s")
        self.wait(lambda: len(self.pods()) == 3, "three pods")
        self.kubectl("wait", "--for=condition=JobRunning", "masterjobs", "--all", f"--timeout={TIMEOUT:.0f}s")
        last_row_at = self.records()[-1].at if self.records() else None
        self.wait(
            lambda: (
                {row.lock_name for row in self.records() if last_row_at is None or row.at > last_row_at}
                >= set(LOCKS)
            ),
            "every job to write",
        )

    def remove(self) -> None:
        """Remove the namespace and the cluster-scoped objects of the release."""
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait", "--timeout=120s")
        if not self.has_foreign_crd:
            self.kubectl("delete", "crd", CRD_NAME, "--ignore-not-found")
        cluster_role = f"{self.namespace}-masterjob-reviews"
        self.kubectl("delete", "clusterrole,clusterrolebinding", cluster_role, "--ignore-not-found")

    # --- observations

    def pods(self) -> dict[str, Any]:
        """Return the operator pods that are not terminating, by name."""
        found = self.get_json("pods", "-l", "app.kubernetes.io/name=masterjob")["items"]
        return {each["metadata"]["name"]: each for each in found if "deletionTimestamp" not in each["metadata"]}

    def nodes(self) -> list[str]:
        """Return the nodes that accept pods."""
        found = self.get_json("nodes")["items"]
        blocked = {"NoSchedule", "NoExecute"}
        return [
            each["metadata"]["name"]
            for each in found
            if not blocked & {taint["effect"] for taint in each["spec"].get("taints", ())}
        ]

    def status(self, name: str) -> Any:
        return self.get_json("masterjob", name).get("status", {})

    def sql(self, statement: str) -> list[str]:
        """Return the lines that psql prints."""
        psql = ("psql", "-h", "127.0.0.1", "-U", "masterjob", "-d", "masterjob", "-v", "ON_ERROR_STOP=1", "-qAt")
        password = "PGPASSWORD=only-here"
        return self.kubectl(
            "exec", "deploy/postgresql", "--", "env", password, *psql, "-c", statement
        ).splitlines()

    def records(self) -> list[Row]:
        return [Row.parse(line) for line in self.sql(QUERY)]

    def master(self, lock_name: str) -> Row:
        """Return the last row of a lock, which its master wrote."""
        return [row for row in self.records() if row.lock_name == lock_name][-1]

    def wait(self, is_true: Callable[[], bool], description: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not is_true():
            assert time.monotonic() < deadline, f"timed out waiting for {description}"
            _sleep_event.wait(0.25)

    def wait_next_term(self, before: Row) -> list[Row]:
        """Wait until a later term of the lock has written a beat; return the lock's rows since ``before``."""

        def rows_since() -> list[Row]:
            return [row for row in self.records() if row.lock_name == before.lock_name and row.term >= before.term]

        self.wait(
            lambda: any(row.term > before.term and row.event == "beat" for row in rows_since()),
            f"a term of {before.lock_name} after {before.term}",
        )
        return rows_since()

    # --- faults

    def kill_process(self, pod: str) -> None:
        """Kill the process of a pod with SIGKILL, from its node."""
        found = self.pods()[pod]
        killer_pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "killer"},
            "spec": {
                "nodeName": found["spec"]["nodeName"],
                "hostPID": True,
                "restartPolicy": "Never",
                "tolerations": [{"operator": "Exists"}],
                "containers": [
                    {
                        "name": "killer",
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python3", "-c", _KILL_SCRIPT.replace("%s", found["metadata"]["uid"])],
                        "securityContext": {"runAsUser": 0, "capabilities": {"add": ["SYS_PTRACE", "KILL"]}},
                    }
                ],
            },
        }
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(killer_pod))
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        self.kubectl("wait", succeeded, "pod/killer", f"--timeout={TIMEOUT:.0f}s")
        self.kubectl("delete", "pod/killer", "--wait")

    def restart_database(self) -> None:
        """Stop PostgreSQL; the kubelet starts it again."""
        (before,) = self.get_json("pods", "-l", "app=postgresql")["items"]
        restarts = before["status"]["containerStatuses"][0]["restartCount"]
        self.kubectl("exec", "deploy/postgresql", "--", "sh", "-c", "kill -INT 1")

        def is_back() -> bool:
            (now,) = self.get_json("pods", "-l", "app=postgresql")["items"]
            state = now["status"]["containerStatuses"][0]
            return bool(state["restartCount"] > restarts and state["ready"])

        self.wait(is_back, "PostgreSQL to be back")

    @contextlib.contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[str]:
        """Forward a port of a Service to this machine; yield its URL."""
        command = [
            find_program_or_name("kubectl"),
            *self._connection_arguments(),
            "port-forward",
            target,
            f":{port}",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
                assert found is not None, "kubectl port-forward printed no port"
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                process.kill()


def from_environment() -> Cluster | None:
    """Return the cluster that the environment names explicitly, or None."""
    kubeconfig = os.environ.get("MASTERJOB_E2E_KUBECONFIG")
    if not kubeconfig:
        return None
    image = os.environ.get("MASTERJOB_E2E_IMAGE", "masterjob:kind")
    return Cluster(Path(kubeconfig), "masterjob-e2e", image, os.environ.get("MASTERJOB_E2E_POSTGRES_IMAGE"))
