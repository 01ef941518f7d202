"""The real Helm, and the objects that the chart renders."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.envtest.control_plane import ControlPlane
from tests.envtest.programs import find_program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "masterjob"

Values = Mapping[str, Any]
Manifest = dict[str, Any]


class Helm:
    """Helm with its own files in ``folder``, with or without a cluster."""

    def __init__(self, folder: Path, plane: ControlPlane | None = None, namespace: str = "default") -> None:
        self.namespace = namespace
        self._folder = folder
        self._cluster = [] if plane is None else ["--kubeconfig", str(plane.kubeconfig)]

    def __call__(self, *arguments: str | Path, expect_failure: bool = False) -> str:
        """Run a command; return its output, or its error output if it must fail."""
        homes = {f"HELM_{kind}_HOME": str(self._folder / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        result = subprocess.run(
            [find_program("helm"), *arguments, "--namespace", self.namespace, *self._cluster],
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), **homes},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert bool(result.returncode) == expect_failure, f"helm {arguments}: {result.stdout}{result.stderr}"
        return result.stderr if expect_failure else result.stdout

    def template(self, values: Values, *extra_arguments: str, release: str = "masterjob") -> list[Manifest]:
        """Return all objects that the chart renders, for a cluster that does not know MasterJob yet."""
        output = self(
            "template",
            release,
            CHART,
            "-f",
            self.write_values(values),
            "--kube-version",
            "1.36.0",
            *extra_arguments,
        )
        return [each for each in yaml.safe_load_all(output) if each]

    def template_error(self, values: Values) -> str:
        """Return the error for values that must be refused."""
        arguments = ("template", "masterjob", CHART, "-f", self.write_values(values), "--kube-version", "1.36.0")
        return self(*arguments, expect_failure=True)

    def write_values(self, values: Values) -> Path:
        path = self._folder / "values.yaml"
        path.write_text(yaml.safe_dump(dict(values)))
        return path


def find_only(objects: list[Manifest], kind: str) -> Manifest:
    """Return the one object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def kinds(objects: list[Manifest]) -> list[str]:
    return [each["kind"] for each in objects]
