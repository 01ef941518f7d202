"""etcd and kube-apiserver as two processes, with kubectl.

    with ControlPlane() as plane:
        plane.kubectl("get", "namespaces")
        with plane.api.outage():
            ...                      # no answers; etcd keeps the objects

`plane.kubeconfig` has all rights; `plane.kubeconfig_for` makes one with fewer.
"""

import base64
import itertools
import json
import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests.envtest.daemons import ApiServer, Etcd
from tests.envtest.programs import find_program
from tests.servers import Unavailable

TIMEOUT = 180.0
"""Seconds that kubectl may take, on a busy machine: it waits for deletions to complete."""

Rule = Mapping[str, Sequence[str]]
"""A rule of a Role: apiGroups, resources and verbs."""


class ControlPlane:
    """An API server and its etcd. ``api`` and ``etcd`` can each be stopped, frozen and started again."""

    name = "Kubernetes"

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.etcd = Etcd()
        self.api = ApiServer(self.etcd)

    def start(self) -> None:
        """Start both.

        Raises:
            Unavailable: a program is not installed, or does not start.
        """
        try:
            self.etcd.start()
            self.api.start()
        except Unavailable:
            self.stop()
            raise
        self._write_kubeconfig(self.kubeconfig, self.api.token, "default")

    def stop(self) -> None:
        self.api.stop()
        self.etcd.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return self.api.url

    @property
    def version(self) -> str:
        return self.api.version

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights."""
        return self.api.directory / "admin.kubeconfig"

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        expect_failure: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with ``stdin`` as its input; it must succeed, or fail if ``expect_failure``."""
        result = subprocess.run(
            [find_program("kubectl"), "--kubeconfig", str(kubeconfig or self.kubeconfig), *arguments],
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.api.directory), "TZ": "UTC"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert bool(result.returncode) == expect_failure, (
            f"kubectl {' '.join(arguments)}: {result.stdout}{result.stderr}"
        )
        return result

    def get_json(self, *arguments: str, kubeconfig: Path | None = None) -> Any:
        """Return the output of kubectl get: ``get_json("mj", "report", "-n", "default")["spec"]``."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json", kubeconfig=kubeconfig).stdout)

    def apply(self, *objects: Mapping[str, Any], kubeconfig: Path | None = None) -> None:
        """Apply objects server-side, even if their fields have other managers."""
        text = yaml.safe_dump_all(objects)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text, kubeconfig=kubeconfig)

    def new_namespace(self) -> str:
        """Create a namespace. (Deleting it would not delete its objects: there is no controller to do that.)"""
        name = f"t{next(self._numbers)}-{secrets.token_hex(3)}"
        self.kubectl("create", "namespace", name)
        return name

    def token_for(self, account: str, namespace: str = "default", duration: str = "1h") -> str:
        """Return a new token for an existing service account; ``duration`` is ten minutes or more."""
        result = self.kubectl("create", "token", account, "--namespace", namespace, "--duration", duration)
        return result.stdout.strip()

    def kubeconfig_for(
        self,
        account: str,
        *rules: Rule,
        namespace: str = "default",
        cluster_wide: bool = True,
    ) -> Path:
        """Return a kubeconfig for a service account with these rules, which is created if needed.

        The rules are for all namespaces if ``cluster_wide``, else for its own.
        """
        self.apply(*_service_account_objects(account, rules, namespace, cluster_wide))
        path = self.api.directory / f"{namespace}-{account}.kubeconfig"
        self._write_kubeconfig(path, self.token_for(account, namespace), namespace)
        return path

    def _write_kubeconfig(self, path: Path, token: str, namespace: str) -> None:
        certificate = base64.b64encode(self.api.ca_file.read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": certificate}
        context = {"cluster": "tests", "user": "tests", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))


def _service_account_objects(
    account: str, rules: Sequence[Rule], namespace: str, cluster_wide: bool
) -> list[dict[str, Any]]:
    """Return a service account, a role with these rules, and their binding."""
    scope = {} if cluster_wide else {"namespace": namespace}
    metadata = {"name": f"{namespace}-{account}" if cluster_wide else account, **scope}
    kind, group = "ClusterRole" if cluster_wide else "Role", "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}},
        {
            "apiVersion": f"{group}/v1",
            "kind": kind,
            "metadata": metadata,
            "rules": [{key: list(values) for key, values in rule.items()} for rule in rules],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": kind, "name": metadata["name"]},
            "subjects": [subject],
        },
    ]
