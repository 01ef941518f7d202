"""Who may use the control API in a cluster: users whom RBAC allows to read or switch MasterJobs.

read     get masterjobs              on the MasterJob that owns the lock, or on all if there is none
switch   update masterjobs/control   likewise
"""

from collections.abc import Callable, Sequence

from masterjob.kube.api.client import UserInfo
from masterjob.kube.cluster import Cluster
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.web.interfaces import Actor, Verb

_RBAC_PERMISSIONS = {Verb.READ: ("get", ""), Verb.SWITCH: ("update", "control")}


class KubeAuthenticator:
    """Asks the API server by TokenReview and SubjectAccessReview. Without an answer it raises: the caller denies.

    ``resources_of`` returns the MasterJobs that name a lock, its owner first.
    """

    def __init__(self, cluster: Cluster, resources_of: Callable[[str], Sequence[ObservedResource]]) -> None:
        self._cluster, self._resources_of = cluster, resources_of

    def authenticate(self, token: str) -> Actor | None:
        """Return the user of a bearer token, or None if it is not valid."""
        user = self._cluster.api.token_review(token) if token else None
        return None if user is None else Actor(user.username, user.groups, user.uid, user.extra)

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        """Return whether RBAC allows it; for a lock without a MasterJob, in every followed namespace."""
        resources = [] if lock_name is None else list(self._resources_of(lock_name))[:1]
        targets = [(owner.namespace, owner.name) for owner in resources]
        targets = targets or [(namespace, "") for namespace in self._cluster.scope.namespaces or ("",)]
        subject = UserInfo(actor.name, actor.uid, actor.groups, actor.extra)
        rbac_verb, subresource = _RBAC_PERMISSIONS[verb]
        is_permitted = self._cluster.api.subject_access_review
        return all(is_permitted(subject, rbac_verb, namespace, name, subresource) for namespace, name in targets)
