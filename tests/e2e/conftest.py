"""Fixtures: the cluster that the environment names, with one release for all tests of a run."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, from_environment
from tests.e2e.record import second_masters


@pytest.fixture(scope="session")
def cluster_with_database() -> Iterator[Cluster]:
    found = from_environment()
    if found is None:
        pytest.skip(
            "no cluster is named: run `make kind-test`, which creates one, or set MASTERJOB_E2E_KUBECONFIG"
        )
    found.remove()  # leftovers of an interrupted run
    found.create_namespace()
    try:
        found.start_database()
        yield found
    finally:
        found.remove()


@pytest.fixture(scope="session")
def release(cluster_with_database: Cluster) -> Cluster:
    """The cluster with the release installed."""
    cluster_with_database.install()
    return cluster_with_database


@pytest.fixture
def cluster(release: Cluster) -> Iterator[Cluster]:
    """Three pods with every job running; after each test, check that there never was a second master."""
    release.wait_running()
    yield release
    assert second_masters(release.records()) == []
