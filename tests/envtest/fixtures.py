"""The control plane of a test run, started at most once in each test process, by the first test that needs it."""

import functools
import os
from collections.abc import Iterator

import pytest

from tests.envtest.control_plane import ControlPlane
from tests.servers import Unavailable
from tests.servers.outcome import server_outcomes


@functools.cache
def _start_once() -> ControlPlane | str:
    """Return the control plane, or why there is none; all test packages that import the fixture share it."""
    plane = ControlPlane()
    try:
        plane.start()
    except Unavailable as error:
        server_outcomes["Kubernetes"] = f"Kubernetes: skipped, because {error}"
        return f"Kubernetes is not available: {error}"
    server_outcomes["Kubernetes"] = f"Kubernetes {plane.version}: tested"
    return plane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    plane = _start_once()
    if isinstance(plane, ControlPlane):
        yield plane
        plane.stop()
    elif os.environ.get("MASTERJOB_REQUIRE_KUBERNETES") == "1":
        pytest.fail(plane, pytrace=False)
    else:
        pytest.skip(plane)
