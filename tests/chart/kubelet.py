"""A small kubelet: runs the pods of a Deployment as processes on this machine.

The pods get arguments, variables, files and account of the Deployment in the cluster. Only addresses and
directories differ, and a kubeconfig with the token of the account replaces the mounted token.
"""

import base64
import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import urllib3
import yaml

from tests.chart.helm import Manifest
from tests.envtest.control_plane import ControlPlane
from tests.servers.process import free_port
from tests.timeouts import WAIT_TIMEOUT

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_sleep_event = Event()


class Pod:
    """One pod of a Deployment."""

    def __init__(self, plane: ControlPlane, deployment: Manifest, folder: Path, name: str) -> None:
        self.name = name
        self.api_port, self.probe_port = free_port(), free_port()
        self._plane, self._folder = plane, folder
        self._namespace = deployment["metadata"]["namespace"]
        self._spec = deployment["spec"]["template"]["spec"]
        self._container = self._spec["containers"][0]
        folder.mkdir(parents=True)
        self.log = folder / "log"
        self._process = self._start()

    def wait_ready(self) -> None:
        """Wait until the readiness probe succeeds, as a Deployment does."""
        self._wait(lambda: self.request(self.probe_port, "/readyz").status == 200, "ready")

    def request(self, port: int, path: str, token: str | None = None, **kwargs: Any) -> urllib3.BaseHTTPResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with urllib3.PoolManager(retries=False, timeout=WAIT_TIMEOUT) as pool:
            method = "POST" if kwargs else "GET"
            return pool.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, **kwargs)

    def terminate(self) -> None:
        """Send SIGTERM, as a kubelet does; it must exit with 0."""
        self._process.terminate()
        assert self._process.wait(WAIT_TIMEOUT) == 0, self.log.read_text()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self, is_true: Any, description: str) -> None:
        for _ in range(int(WAIT_TIMEOUT / 0.05)):
            assert self._process.poll() is None, f"{self.name} ended early: {self.log.read_text()}"
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if is_true():
                    return
            _sleep_event.wait(0.05)
        raise AssertionError(f"{self.name} was not {description}: {self.log.read_text()}")

    def _start(self) -> "subprocess.Popen[bytes]":
        kubeconfig_arguments = ["--kubeconfig", str(self._kubeconfig())]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "masterjob",
                    *map(self._localize, self._container["args"]),
                    *kubeconfig_arguments,
                ],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_kill_with_parent,  # noqa: PLW1509 - it only makes a system call
            )

    def _localize(self, text: str) -> str:
        """Return an argument or variable with addresses and directories for this machine."""
        replacements = {
            "--host=0.0.0.0": "--host=127.0.0.1",
            "--port=3000": f"--port={self.api_port}",
            "--probe-port=3001": f"--probe-port={self.probe_port}",
        }
        if text in replacements:
            return replacements[text]
        if Path(text).exists():  # a local path, which may be below a mount path such as /tmp
            return text
        for mount in self._container["volumeMounts"]:
            if f"{mount['mountPath']}/" in text:
                return text.replace(mount["mountPath"], str(self._mount_volume(mount["name"])))
        return text

    def _mount_volume(self, volume: str) -> Path:
        """Return the directory of a volume, with its content."""
        path = self._folder / volume
        path.mkdir(exist_ok=True)
        (source,) = (each for each in self._spec["volumes"] if each["name"] == volume)
        if "configMap" in source:
            found = self._plane.get_json("configmap", source["configMap"]["name"], "-n", self._namespace)
            for name, content in found["data"].items():
                (path / name).write_text(content)
        return path

    def _environment(self) -> dict[str, str]:
        inherited = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in inherited if name in os.environ}
        return environment | {each["name"]: self._resolve_variable(each) for each in self._container["env"]}

    def _resolve_variable(self, variable: Mapping[str, Any]) -> str:
        match variable.get("valueFrom"):
            case {"fieldRef": {"fieldPath": field}}:
                return self._downward_fields()[field]
            case {"secretKeyRef": {"name": name, "key": key}}:
                secret = self._plane.get_json("secret", name, "-n", self._namespace)
                return base64.b64decode(secret["data"][key]).decode()
        return self._localize(variable["value"])

    def _downward_fields(self) -> dict[str, str]:
        return {
            "metadata.name": self.name,
            "metadata.namespace": self._namespace,
            "metadata.uid": f"uid-of-{self.name}",
            "status.podIP": "127.0.0.1",
            "spec.nodeName": "node-1",
        }

    def _kubeconfig(self) -> Path:
        """Write a kubeconfig that authenticates only with the service account of the pod."""
        document = yaml.safe_load(self._plane.kubeconfig.read_text())
        token = self._plane.token_for(self._spec["serviceAccountName"], self._namespace)
        document["users"][0]["user"] = {"token": token}
        path = self._folder / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path


def _kill_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Kubelet:
    """The pods of a Deployment, and their replacement one by one."""

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str, name: str) -> None:
        self.pods: list[Pod] = []
        self._numbers = itertools.count(1)
        self._plane, self._folder = plane, folder
        self._deployment_ref = ("deployment", name, "-n", namespace)

    def start_pods(self, count: int) -> list[Pod]:
        """Start more pods, and wait until they are ready."""
        deployment = self._plane.get_json(*self._deployment_ref)
        new = []
        for number in itertools.islice(self._numbers, count):
            name = f"{deployment['metadata']['name']}-{number}"
            new.append(Pod(self._plane, deployment, self._folder / name, name))
            self.pods.append(new[-1])
        for pod in new:
            pod.wait_ready()
        return new

    def rolling_update(self) -> None:
        """Replace all pods as the strategy demands: an old one ends after a new one was ready for a while."""
        spec = self._plane.get_json(*self._deployment_ref)["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        for old in list(self.pods):
            self.start_pods(1)
            _sleep_event.wait(spec["minReadySeconds"])  # the rule of the Deployment
            old.terminate()
            self.pods.remove(old)


@contextlib.contextmanager
def run_kubelet(plane: ControlPlane, folder: Path, namespace: str, name: str = "masterjob") -> Iterator[Kubelet]:
    """Run a kubelet whose pods end with the test."""
    started = Kubelet(plane, folder, namespace, name)
    try:
        yield started
    finally:
        for pod in started.pods:
            pod.kill()
