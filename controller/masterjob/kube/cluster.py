"""The cluster that an operator serves, and which part of it.

Source: design section 6.2.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from masterjob.election.errors import SettingError
from masterjob.kube.api.client import Api
from masterjob.kube.api.login import connect
from masterjob.kube.follow.lister import Scope


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that an operator serves: how it is reached, what of it, and its name in the database."""

    api: Api
    scope: Scope
    name: str

    def follows(self, namespace: str) -> bool:
        """Whether the MasterJobs of a namespace are followed."""
        return not self.scope.namespaces or namespace in self.scope.namespaces

    @property
    def shown(self) -> str:
        """What is followed, in words."""
        return f"MasterJobs in {', '.join(self.scope.namespaces) or 'all namespaces'} of cluster {self.name}"


def cluster_of(
    kubeconfig: str | None,
    context: str | None,
    namespaces: Sequence[str],
    *,
    everywhere: bool = False,
    name: str | None = None,
) -> Cluster:
    """Return the cluster that the options name; without any, that of the pod, and its namespace.

    Raises:
        SettingError: there is no cluster to be found, or the options contradict one another.
    """
    if everywhere and namespaces:
        raise SettingError("--all-namespaces and --namespace exclude each other: give one of them")
    api = Api(connect(kubeconfig, context))
    if not (name or api.cluster):
        raise SettingError(
            "the kubeconfig names no certificate authority, by which this cluster could be told from others in "
            "the database: say --cluster NAME, the same in every pod"
        )
    own = os.environ.get("POD_NAMESPACE") or api.namespace or "default"
    scope = Scope(()) if everywhere else Scope(tuple(dict.fromkeys(namespaces)) or (own,))
    return Cluster(api, scope, name or api.cluster)
