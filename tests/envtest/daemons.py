"""The two processes of a control plane, each of which can be stopped, frozen and started again."""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from tests.envtest.programs import find_program
from tests.servers.process import Server, Unavailable
from tests.timeouts import WAIT_TIMEOUT

_PR_SET_PDEATHSIG = 1
_TIMEOUT = urllib3.Timeout(connect=60, read=60)
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch"],
            "resources": [
                {"group": "masterjob.io", "resources": ["masterjobs/status"]},
                {"group": "events.k8s.io", "resources": ["events"]},
            ],
        },
        {"level": "None"},
    ],
}
"""The audit policy: writes of statuses and Events, which tests count."""


class ApiResponse(NamedTuple):
    """The status of an HTTP response, and its body, parsed if it is JSON."""

    status: int
    body: Any


class Daemon(Server):
    """A server that can be stopped and started again on the same port, with its data."""

    users = ()
    stop_signal = signal.SIGKILL

    def create_data_directory(self) -> None:
        """Do nothing: the server creates its files itself."""

    def up(self) -> None:
        """Start it again, and wait until it is ready."""
        self._process = self._spawn(self.command())
        self._wait_until_ready()

    def down(self, with_signal: signal.Signals = signal.SIGKILL) -> None:
        """Stop it, by default with SIGKILL, like a crash."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        self._process.wait(WAIT_TIMEOUT)

    @contextlib.contextmanager
    def outage(self, with_signal: signal.Signals = signal.SIGKILL) -> Iterator[None]:
        """Stop it during the block: connections are refused."""
        self.down(with_signal)
        try:
            yield
        finally:
            self.up()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it during the block: connections hang."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)
            self._wait_until_ready()

    def _unprivileged_user(self) -> str | None:
        return None  # the user of the tests, even root

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_kill_with_parent,  # noqa: PLW1509 - it only makes a system call
            )


def _kill_with_parent() -> None:
    """Kill the process with its parent; after SIGTERM, an API server without etcd takes a minute to stop."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Etcd(Daemon):
    name = "etcd"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        return [
            find_program("etcd"),
            f"--data-dir={self.directory / 'data'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def read_version(self) -> str:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
            if pool.request("GET", f"{self.url}/health").json() != {"health": "true", "reason": ""}:
                raise Unavailable("etcd is not healthy yet")
            return str(pool.request("GET", f"{self.url}/version").json()["etcdserver"])


class ApiServer(Daemon):
    name = "kube-apiserver"

    def __init__(self, etcd: Etcd) -> None:
        super().__init__()
        self._etcd = etcd
        self.token = secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that clients trust; the server creates it at its first start."""
        return self.directory / "apiserver.crt"

    def create_data_directory(self) -> None:
        tokens = self.directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')
        (self.directory / "audit.json").write_text(json.dumps(_AUDIT_POLICY))

    def command(self) -> Sequence[str | Path]:
        key = self.directory / "apiserver.key"  # also signs the tokens of service accounts
        return [
            find_program("kube-apiserver"),
            f"--etcd-servers={self._etcd.url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.directory}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",  # no service `kubernetes`; loopback is refused
            "--profiling=false",
            f"--audit-policy-file={self.directory / 'audit.json'}",
            f"--audit-log-path={self._audit_log}",
        ]

    def audit_entries(self) -> list[Any]:
        """Return all writes of statuses and Events with their responses, in order (audit.k8s.io/v1)."""
        if not self._audit_log.exists():
            return []
        *complete_lines, _unfinished = self._audit_log.read_text().split("\n")
        return [json.loads(line) for line in complete_lines]

    @property
    def _audit_log(self) -> Path:
        return self.directory / "audit.log"

    def read_version(self) -> str:
        self.get("/readyz")
        self.get("/api/v1/namespaces/default")  # it is created a moment after the server is ready
        return str(self.get("/version")["gitVersion"]).removeprefix("v")

    def get(self, path: str) -> Any:
        """Return the body at a path; raise `Unavailable` if the status is not 200."""
        response = self.request("GET", path)
        if response.status != 200:
            raise Unavailable(f"{path} answers {response.status}: {response.body}")
        return response.body

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> ApiResponse:
        """Make a request, ten times as fast as with kubectl; any status is returned."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        encoded_body = None if body is None else json.dumps(body)
        with urllib3.PoolManager(ca_certs=str(self.ca_file), timeout=_TIMEOUT, retries=False) as pool:
            response = pool.request(method, self.url + path, body=encoded_body, headers=headers)
        is_json = "json" in response.headers.get("Content-Type", "")
        return ApiResponse(response.status, response.json() if is_json else response.data.decode())
