"""The cluster that an operator serves, and which of its namespaces."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from masterjob.errors import SettingError
from masterjob.kube.api.client import KubeApi
from masterjob.kube.api.config import load_config
from masterjob.kube.informer.relist import WatchScope


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that an operator serves: its API, the namespaces in scope, and its name in the database."""

    api: KubeApi
    scope: WatchScope
    name: str

    def is_in_scope(self, namespace: str) -> bool:
        """Return whether the MasterJobs of a namespace are followed."""
        return not self.scope.namespaces or namespace in self.scope.namespaces

    @property
    def description(self) -> str:
        """What is followed, in words."""
        return f"MasterJobs in {', '.join(self.scope.namespaces) or 'all namespaces'} of cluster {self.name}"


def resolve_cluster(
    kubeconfig: str | None,
    context: str | None,
    namespaces: Sequence[str],
    *,
    all_namespaces: bool = False,
    cluster_name: str | None = None,
) -> Cluster:
    """Return the cluster that the options select. The default is the pod's own cluster and namespace.

    Raises:
        SettingError: no cluster was found, or the options contradict each other.
    """
    if all_namespaces and namespaces:
        raise SettingError("--all-namespaces and --namespace exclude each other: give one of them")
    api = KubeApi(load_config(kubeconfig, context))
    if not (cluster_name or api.cluster_id):
        raise SettingError(
            "the kubeconfig has no certificate authority to identify this cluster by in the database: "
            "give --cluster NAME, the same in every pod"
        )
    own_namespace = os.environ.get("POD_NAMESPACE") or api.namespace or "default"
    scope = WatchScope(()) if all_namespaces else WatchScope(tuple(dict.fromkeys(namespaces)) or (own_namespace,))
    return Cluster(api, scope, cluster_name or api.cluster_id)
