"""The programs of a control plane, their versions, and their paths on this machine.

The versions are those of the Go modules beside this file.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import Unavailable

_MODULES_DIR = Path(__file__).parent
_REQUIRED = re.compile(r"^require \S+ v(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and the package from which it is built, in one of the modules beside this file."""

    name: str
    module: str
    package: str
    linker_variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that the linker sets, such as the version."""

    @property
    def source(self) -> Path:
        return _MODULES_DIR / self.module

    @property
    def version(self) -> str:
        return version_of(self.module)

    @property
    def path(self) -> Path:
        """The path to which `make envtest` installs it; it contains the version."""
        return cache_dir() / f"{self.module}-{self.version}" / self.name


def version_of(module: str) -> str:
    found = _REQUIRED.search((_MODULES_DIR / module / "go.mod").read_text())
    assert found is not None, f"{module}/go.mod requires nothing"
    return found[1]


def cache_dir() -> Path:
    """Return the folder of all versions."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "masterjob" / "envtest"


def _kubernetes_program(name: str) -> Program:
    version = version_of("kubernetes")
    major, minor, _ = version.split(".")
    version_info = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    linker_variables = {
        f"{reader}.{variable}": value for reader in packages for variable, value in version_info.items()
    }
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", linker_variables)


CONTROL_PLANE = ("kube-apiserver", "kubectl", "etcd")
PROGRAMS = {
    program.name: program
    for program in (
        _kubernetes_program("kube-apiserver"),
        _kubernetes_program("kubectl"),
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        Program(
            "helm",
            "helm",
            "helm.sh/helm/v3/cmd/helm",
            {"helm.sh/helm/v3/internal/version.version": f"v{version_of('helm')}"},
        ),
    )
}


def find_program(name: str) -> Path:
    """Return the path of a program.

    Raises:
        Unavailable: it is not installed; the message says how to install it.
    """
    program = PROGRAMS[name]
    assets_dir = os.environ.get("KUBEBUILDER_ASSETS")
    for path in ([Path(assets_dir) / name] if assets_dir else []) + [program.path]:
        if path.exists():
            return path
    raise Unavailable(f"{name} {program.version} is not installed: run `make envtest`, once for each machine")
