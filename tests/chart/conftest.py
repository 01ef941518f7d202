"""Helm, and an API server for these tests only: releases create and delete definitions, which are shared."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.helm import Helm
from tests.envtest.control_plane import ControlPlane
from tests.envtest.programs import find_program
from tests.servers import Unavailable


def _fail_or_skip(error: Unavailable) -> None:
    if os.environ.get("MASTERJOB_REQUIRE_KUBERNETES") == "1":
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """Helm without a cluster."""
    try:
        find_program("helm")
    except Unavailable as error:
        _fail_or_skip(error)
    return Helm(tmp_path)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """An API server without the definition of MasterJob."""
    control_plane = ControlPlane()
    try:
        control_plane.start()
    except Unavailable as error:
        _fail_or_skip(error)
    yield control_plane
    control_plane.stop()
