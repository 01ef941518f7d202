"""A real API server with the CRD of MasterJob."""

import time
from pathlib import Path

import pytest

from tests.envtest.control_plane import ControlPlane
from tests.envtest.fixtures import control_plane
from tests.timeouts import WAIT_TIMEOUT

__all__ = ["control_plane"]

CRDS = Path(__file__).parents[2] / "crds"
API_PATH = "/apis/masterjob.io/v1alpha1"


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with the CRD established and its schema published."""
    control_plane.kubectl("apply", "--server-side", "-f", str(CRDS / "masterjobs.yaml"))
    control_plane.kubectl(
        "wait", "--for=condition=Established", "crd/masterjobs.masterjob.io", f"--timeout={WAIT_TIMEOUT:.0f}s"
    )
    deadline = time.monotonic() + WAIT_TIMEOUT
    while (
        control_plane.api.request("GET", f"/openapi/v3{API_PATH}").status != 200
    ):  # it is published a moment later
        assert time.monotonic() < deadline, "the schema is not published"
        time.sleep(0.05)
    return control_plane


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    """A namespace for this test only."""
    return cluster.new_namespace()
