"""What the end-to-end tests do with a cluster, by kubectl and Helm."""

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
from tests.envtest.programs import find
from tests.servers import Unavailable

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "charts" / "masterjob"
LOCKS = ("ALPHA", "BETA", "GAMMA")
DEFINITION = "masterjobs.masterjob.io"
PATIENCE = 120.0

_pulse = Event()

_KILL = """
import os, pathlib, signal
def is_it(folder):
    try:
        return (b"POD_UID=%s" in (folder / "environ").read_bytes().split(b"\\0")
                and b"operator" in (folder / "cmdline").read_bytes().split(b"\\0"))
    except OSError:
        return False
(found,) = [folder for folder in pathlib.Path("/proc").glob("[0-9]*") if is_it(folder)]
os.kill(int(found.name), signal.SIGKILL)
"""
"""Kill -9 from outside: a container's process 1 cannot be killed from within."""


def program(name: str) -> str:
    """Return kubectl or helm: those of the tests, else what the PATH has."""
    with contextlib.suppress(Unavailable):
        return str(find(name))
    return name


class Cluster:
    """A namespace of a cluster with PostgreSQL, and the release in it."""

    def __init__(self, kubeconfig: Path, namespace: str, image: str, postgres_image: str | None = None) -> None:
        self.namespace, self.image = namespace, image
        self._kubeconfig, self._postgres_image = kubeconfig, postgres_image

    # --- programs

    def run(self, name: str, *words: str, given: str | None = None, patience: float = PATIENCE) -> str:
        """Run kubectl or helm in the namespace; it must succeed."""
        done = subprocess.run(
            [program(name), *self._where(), *words],
            check=False,
            input=given,
            capture_output=True,
            text=True,
            timeout=patience + 60,
        )
        assert done.returncode == 0, f"{name} {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def kubectl(self, *words: str, given: str | None = None) -> str:
        return self.run("kubectl", *words, given=given)

    def read(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def _where(self) -> Sequence[str]:
        return ["--kubeconfig", str(self._kubeconfig), "--namespace", self.namespace]

    # --- what is in it

    def make_namespace(self) -> None:
        given = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.kubectl("apply", "-f", "-", given=yaml.safe_dump(given))

    def start_database(self) -> None:
        """Have a PostgreSQL with the table of the sample job, and its code."""
        given = (HERE / "postgresql.yaml").read_text()
        if self._postgres_image:
            given = re.sub(r"image: postgres:.*", f"image: {self._postgres_image}", given)
        self.kubectl("apply", "-f", "-", given=given)
        self.kubectl("rollout", "status", "deploy/postgresql", f"--timeout={PATIENCE:.0f}s")
        self.sql(TABLE)
        code = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "code"},
            "data": {"sample.py": (HERE / "sample.py").read_text()},
        }
        self.kubectl("apply", "-f", "-", given=yaml.safe_dump(code))

    def install(self, *more: str) -> str:
        """Install or upgrade the release, and wait until all of it is as it shall be."""
        repository, _, tag = self.image.rpartition(":")
        image = ("--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}")
        words = ["upgrade", "masterjob", str(CHART), "--install", "--values", str(HERE / "values.yaml"), *image]
        if self.has_foreign_definition:
            words += ["--set", "crds.enabled=false"]
        said = self.run("helm", *words, "--wait", "--timeout", f"{PATIENCE:.0f}s", *more)
        self.settle()
        return said

    @property
    def has_foreign_definition(self) -> bool:
        """Whether somebody else has made the definition of MasterJob here."""
        found = self.kubectl("get", "crd", DEFINITION, "--ignore-not-found", "-o", "json")
        notes = json.loads(found)["metadata"].get("annotations", {}) if found else {}
        return bool(found) and notes.get("meta.helm.sh/release-namespace") != self.namespace

    def settle(self) -> None:
        """Wait until three pods are ready, no other is left, and every job runs."""
        self.kubectl("rollout", "status", "deploy/masterjob", f"--timeout={PATIENCE:.0f}s")
        self.wait(lambda: len(self.pods()) == 3, "three pods")
        self.kubectl("wait", "--for=condition=JobRunning", "masterjobs", "--all", f"--timeout={PATIENCE:.0f}s")
        mark = self.rows()[-1].at if self.rows() else None
        self.wait(
            lambda: {row.lock_name for row in self.rows() if mark is None or row.at > mark} >= set(LOCKS),
            "every job to write",
        )

    def remove(self) -> None:
        """Remove the namespace, and what the release has made of the cluster."""
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait", "--timeout=120s")
        if not self.has_foreign_definition:
            self.kubectl("delete", "crd", DEFINITION, "--ignore-not-found")
        ours = f"{self.namespace}-masterjob-reviews"
        self.kubectl("delete", "clusterrole,clusterrolebinding", ours, "--ignore-not-found")

    # --- what is seen

    def pods(self) -> dict[str, Any]:
        """Return the operators that are not on their way out, by name."""
        found = self.read("pods", "-l", "app.kubernetes.io/name=masterjob")["items"]
        return {each["metadata"]["name"]: each for each in found if "deletionTimestamp" not in each["metadata"]}

    def nodes(self) -> list[str]:
        """Return the nodes that take pods."""
        found = self.read("nodes")["items"]
        blocked = {"NoSchedule", "NoExecute"}
        return [
            each["metadata"]["name"]
            for each in found
            if not blocked & {taint["effect"] for taint in each["spec"].get("taints", ())}
        ]

    def status(self, name: str) -> Any:
        return self.read("masterjob", name).get("status", {})

    def sql(self, statement: str) -> list[str]:
        """Return the lines that psql answers."""
        psql = ("psql", "-h", "127.0.0.1", "-U", "masterjob", "-d", "masterjob", "-v", "ON_ERROR_STOP=1", "-qAt")
        password = "PGPASSWORD=only-here"
        return self.kubectl(
            "exec", "deploy/postgresql", "--", "env", password, *psql, "-c", statement
        ).splitlines()

    def rows(self) -> list[Row]:
        return [Row.read(line) for line in self.sql(QUERY)]

    def master(self, lock_name: str) -> Row:
        """Return the last line of a lock, which its master wrote."""
        return [row for row in self.rows() if row.lock_name == lock_name][-1]

    def wait(self, true: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < until, f"waited in vain for {what}"
            _pulse.wait(0.25)

    def wait_next(self, before: Row) -> list[Row]:
        """Wait until a later term of the lock has written a beat; return the lock's lines from ``before`` on."""

        def since() -> list[Row]:
            return [row for row in self.rows() if row.lock_name == before.lock_name and row.term >= before.term]

        self.wait(
            lambda: any(row.term > before.term and row.what == "beat" for row in since()),
            f"a term of {before.lock_name} after {before.term}",
        )
        return since()

    # --- what is done to it

    def kill_process(self, pod: str) -> None:
        """Kill -9 the process of a pod, from its node."""
        found = self.pods()[pod]
        killer = {
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
                        "command": ["python3", "-c", _KILL.replace("%s", found["metadata"]["uid"])],
                        "securityContext": {"runAsUser": 0, "capabilities": {"add": ["SYS_PTRACE", "KILL"]}},
                    }
                ],
            },
        }
        self.kubectl("apply", "-f", "-", given=yaml.safe_dump(killer))
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        self.kubectl("wait", succeeded, "pod/killer", f"--timeout={PATIENCE:.0f}s")
        self.kubectl("delete", "pod/killer", "--wait")

    def restart_database(self) -> None:
        """Have PostgreSQL end, as for a restart; the kubelet starts it again."""
        (before,) = self.read("pods", "-l", "app=postgresql")["items"]
        restarts = before["status"]["containerStatuses"][0]["restartCount"]
        self.kubectl("exec", "deploy/postgresql", "--", "sh", "-c", "kill -INT 1")

        def is_back() -> bool:
            (now,) = self.read("pods", "-l", "app=postgresql")["items"]
            state = now["status"]["containerStatuses"][0]
            return bool(state["restartCount"] > restarts and state["ready"])

        self.wait(is_back, "PostgreSQL to be back")

    @contextlib.contextmanager
    def forwarded(self, what: str, port: int) -> Iterator[str]:
        """Have a port of a service on this machine; its URL."""
        command = [program("kubectl"), *self._where(), "port-forward", what, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
            try:
                assert forwarding.stdout is not None
                found = re.search(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())
                assert found is not None, "kubectl port-forward says no port"
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                forwarding.kill()


def from_environment() -> Cluster | None:
    """Return the cluster that the environment names; none is ever taken by chance."""
    kubeconfig = os.environ.get("MASTERJOB_E2E_KUBECONFIG")
    if not kubeconfig:
        return None
    image = os.environ.get("MASTERJOB_E2E_IMAGE", "masterjob:kind")
    return Cluster(Path(kubeconfig), "masterjob-e2e", image, os.environ.get("MASTERJOB_E2E_POSTGRES_IMAGE"))
