"""What a kubelet would do with a Deployment, as far as a test needs it: its pods, as processes of this machine.

The pods' arguments, variables, files and account are those that the cluster has of the Deployment. Only addresses
and folders are others, and there is a kubeconfig with the account's token in place of the mounted one.
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

from tests.chart.helm import Object
from tests.envtest.control_plane import ControlPlane
from tests.servers.process import free_port

PATIENCE = 45.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_pulse = Event()


class Pod:
    """One pod of a Deployment."""

    def __init__(self, plane: ControlPlane, deployment: Object, folder: Path, name: str) -> None:
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
        """Wait until the readiness probe is content, as a Deployment does."""
        self._wait(lambda: self.ask(self.probe_port, "/readyz").status == 200, "ready")

    def ask(self, port: int, path: str, token: str | None = None, **more: Any) -> urllib3.BaseHTTPResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with urllib3.PoolManager(retries=False, timeout=10) as pool:
            method = "POST" if more else "GET"
            return pool.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, **more)

    def terminate(self) -> None:
        """End it as a kubelet does: SIGTERM, and it has to be gone within the grace period, with 0."""
        self._process.terminate()
        assert self._process.wait(self._spec["terminationGracePeriodSeconds"]) == 0, self.log.read_text()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self, true: Any, what: str) -> None:
        for _ in range(int(PATIENCE / 0.05)):
            assert self._process.poll() is None, f"{self.name} has ended: {self.log.read_text()}"
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if true():
                    return
            _pulse.wait(0.05)
        raise AssertionError(f"{self.name} was not {what}: {self.log.read_text()}")

    def _start(self) -> "subprocess.Popen[bytes]":
        more = ["--kubeconfig", str(self._kubeconfig())]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "masterjob", *map(self._here, self._container["args"]), *more],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_the_tests,  # noqa: PLW1509 - it calls the kernel, and nothing of ours
            )

    def _here(self, text: str) -> str:
        """Return an argument or a variable with the addresses and folders that it has on this machine."""
        said = {
            "--host=0.0.0.0": "--host=127.0.0.1",
            "--port=3000": f"--port={self.api_port}",
            "--probe-port=3001": f"--probe-port={self.probe_port}",
        }
        if text in said:
            return said[text]
        if Path(text).exists():  # a folder of this machine, which may lie below one that is mounted, such as /tmp
            return text
        for mount in self._container["volumeMounts"]:
            if f"{mount['mountPath']}/" in text:
                return text.replace(mount["mountPath"], str(self._mounted(mount["name"])))
        return text

    def _mounted(self, volume: str) -> Path:
        """Return the folder that a volume is, with what is in it."""
        path = self._folder / volume
        path.mkdir(exist_ok=True)
        (source,) = (each for each in self._spec["volumes"] if each["name"] == volume)
        if "configMap" in source:
            found = self._plane.read("configmap", source["configMap"]["name"], "-n", self._namespace)
            for name, content in found["data"].items():
                (path / name).write_text(content)
        return path

    def _environment(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
        found = {name: os.environ[name] for name in kept if name in os.environ}
        return found | {each["name"]: self._value(each) for each in self._container["env"]}

    def _value(self, variable: Mapping[str, Any]) -> str:
        match variable.get("valueFrom"):
            case {"fieldRef": {"fieldPath": field}}:
                return self._fields()[field]
            case {"secretKeyRef": {"name": name, "key": key}}:
                secret = self._plane.read("secret", name, "-n", self._namespace)
                return base64.b64decode(secret["data"][key]).decode()
        return self._here(variable["value"])

    def _fields(self) -> dict[str, str]:
        return {
            "metadata.name": self.name,
            "metadata.namespace": self._namespace,
            "metadata.uid": f"uid-of-{self.name}",
            "status.podIP": "127.0.0.1",
            "spec.nodeName": "node-1",
        }

    def _kubeconfig(self) -> Path:
        """Return the file of one who comes with the pod's own account, and with nothing else."""
        document = yaml.safe_load(self._plane.kubeconfig.read_text())
        token = self._plane.token_for(self._spec["serviceAccountName"], self._namespace)
        document["users"][0]["user"] = {"token": token}
        path = self._folder / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path


def _die_with_the_tests() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Kubelet:
    """The pods of a Deployment, and their replacement one by one."""

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str, name: str) -> None:
        self.pods: list[Pod] = []
        self._numbers = itertools.count(1)
        self._plane, self._folder = plane, folder
        self._which = ("deployment", name, "-n", namespace)

    def run(self, count: int) -> list[Pod]:
        """Have as many pods more, ready."""
        deployment = self._plane.read(*self._which)
        new = []
        for number in itertools.islice(self._numbers, count):
            name = f"{deployment['metadata']['name']}-{number}"
            new.append(Pod(self._plane, deployment, self._folder / name, name))
            self.pods.append(new[-1])
        for pod in new:
            pod.wait_ready()
        return new

    def roll(self) -> None:
        """Replace all pods as the strategy says: before an old one goes, a new one has been ready for a while."""
        spec = self._plane.read(*self._which)["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        for old in list(self.pods):
            self.run(1)
            _pulse.wait(spec["minReadySeconds"])  # the Deployment's own rule, no guess of ours
            old.terminate()
            self.pods.remove(old)


@contextlib.contextmanager
def kubelet(plane: ControlPlane, folder: Path, namespace: str, name: str = "masterjob") -> Iterator[Kubelet]:
    """A kubelet whose pods end with the test."""
    ours = Kubelet(plane, folder, namespace, name)
    try:
        yield ours
    finally:
        for pod in ours.pods:
            pod.kill()
