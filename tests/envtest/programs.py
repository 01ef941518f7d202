"""Which programs make a control plane, in which version, and where they lie on this machine.

The versions are those of the Go modules beside this file: whoever changes one there changes what is installed.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import Unavailable

_HERE = Path(__file__).parent
_REQUIRED = re.compile(r"^require \S+ v(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and the package that it is built of in one of the modules beside this file."""

    name: str
    module: str
    package: str
    stamps: Mapping[str, str] = field(default_factory=dict)
    """What the linker writes into it, so that it knows its version."""

    @property
    def source(self) -> Path:
        return _HERE / self.module

    @property
    def version(self) -> str:
        return version_of(self.module)

    @property
    def place(self) -> Path:
        """Where `make envtest` puts it. Another version has another place."""
        return cache() / f"{self.module}-{self.version}" / self.name


def version_of(module: str) -> str:
    found = _REQUIRED.search((_HERE / module / "go.mod").read_text())
    assert found is not None, f"{module}/go.mod requires nothing"
    return found[1]


def cache() -> Path:
    """Return the folder of all versions, once a machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "masterjob" / "envtest"


def _kubernetes(name: str) -> Program:
    version = version_of("kubernetes")
    major, minor, _ = version.split(".")
    said = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    readers = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = {f"{reader}.{variable}": value for reader in readers for variable, value in said.items()}
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", stamps)


CONTROL_PLANE = ("kube-apiserver", "kubectl", "etcd")
PROGRAMS = {
    program.name: program
    for program in (
        _kubernetes("kube-apiserver"),
        _kubernetes("kubectl"),
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        Program(
            "helm",
            "helm",
            "helm.sh/helm/v3/cmd/helm",
            {"helm.sh/helm/v3/internal/version.version": f"v{version_of('helm')}"},
        ),
    )
}


def find(name: str) -> Path:
    """Return where a program lies.

    Raises:
        Unavailable: it is not here; the message says how to get it.
    """
    program = PROGRAMS[name]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for place in ([Path(assets) / name] if assets else []) + [program.place]:
        if place.exists():
            return place
    raise Unavailable(f"{name} {program.version} is not installed: `make envtest` does it, once a machine")
