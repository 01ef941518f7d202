"""What is asked of the API server, one request at a time, each with a time limit and an answer that is understood.

Nothing is repeated here: whoever asks knows whether it matters. An answer that did not come is `ApiUnavailable`,
and what was asked may have been done all the same.

What must not be here: what is done with the answers; threads.

Source: design sections 6.2, 6.3 and 6.5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.config import ConfigException

from masterjob.kube.api.answers import (
    ApiRefused,
    ApiUnavailable,
    Changed,
    DefinitionMissing,
    NotFound,
    cause,
    understood,
)
from masterjob.kube.api.login import Access
from masterjob.kube.api.wires import Wires
from masterjob.resource.resource import API_VERSION, KIND

GROUP, VERSION = API_VERSION.split("/")
PLURAL = f"{KIND.lower()}s"

CONNECT_TIMEOUT, READ_TIMEOUT = 3.0, 10.0
"""Seconds until there is a connection, and until each next part of an answer."""

_PAGE = 500
_TRIES = 3
_CONNECTIONS = 16

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Who a token belongs to, as the API server says."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Api:
    """The API server. Every method may be called from any thread, and waits for the answer.

    Every method may raise `ApiUnavailable` and `ApiRefused`.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        access.configuration.retries = False
        access.configuration.connection_pool_maxsize = _CONNECTIONS
        self._client = client.ApiClient(access.configuration)
        self._client.user_agent = "masterjob"
        self._wires = Wires()
        self._wires.lay_into(self._client.rest_client.pool_manager)
        self._objects = client.CustomObjectsApi(self._client)

    @property
    def cluster(self) -> str:
        """The same text for everybody in this cluster, and another one elsewhere."""
        return self.access.cluster

    @property
    def namespace(self) -> str | None:
        """The namespace that we are in, if that is known."""
        return self.access.namespace

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._client.rest_client.pool_manager.clear()

    def cut(self, thread: int) -> None:
        """Have what that thread waits for here end now, as `ApiUnavailable`."""
        self._wires.cut(thread)

    # --- MasterJobs

    def served(self) -> bool:
        """Whether discovery tells of the type too, which it does a moment after its definition was made."""
        try:
            groups = self._ask(client.ApisApi(self._client).get_api_versions).groups
            if GROUP not in {each.name for each in groups}:
                return False
            resources = self._ask(self._objects.get_api_resources, GROUP, VERSION).resources
        except NotFound:
            return False
        return PLURAL in {each.name for each in resources}

    def list(self, namespace: str | None) -> Sequence[Object]:
        """Return all MasterJobs of a namespace, or of the cluster, as they are now.

        Raises:
            DefinitionMissing: the type is not known.
        """
        for _ in range(_TRIES):
            try:
                return self._pages(namespace)
            except ApiRefused as error:
                if error.status != 410:  # the list took so long that its second half is of another time
                    raise
            except NotFound as error:
                raise DefinitionMissing(str(error)) from None
        raise ApiUnavailable("the list of MasterJobs was out of date before it was complete")

    def get(self, namespace: str, name: str) -> Object | None:
        """Return a MasterJob as it is now, or None where there is none of that name.

        Raises:
            DefinitionMissing: the type is not known.
        """
        return self._one(self._objects.get_namespaced_custom_object, namespace, name)

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Object | None:
        """Put ``status`` in place of the whole one that was there, and return the object; None where it is gone.

        Raises:
            Changed: the object is not of that version any more.
            DefinitionMissing: the type is not known.
        """
        # A merge patch would keep what the new status has not. The version is set, not tested: a test that fails
        # is a 422 like any other, but an object that comes with an old version is a 409.
        patch = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        call = self._objects.patch_namespaced_custom_object_status
        more = {"field_validation": "Strict", "_content_type": "application/json-patch+json"}
        return self._one(call, namespace, name, patch, **more)

    # --- Events and reviews

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create an Event of events.k8s.io/v1; False where one of its name is there already."""
        event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", **body}
        create = self._objects.create_namespaced_custom_object
        try:
            self._ask(create, "events.k8s.io", "v1", namespace, "events", event)
        except Changed:
            return False
        except NotFound as error:
            raise ApiRefused(404, str(error)) from None
        return True

    def token_review(self, token: str, audiences: Sequence[str] = ()) -> Reviewed | None:
        """Return whose token that is; None if nobody's, or if it was made for none of the ``audiences``."""
        spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
        status = self._review("authentication.k8s.io", "TokenReview", spec)
        # A server that knows nothing of audiences names none: its word is not about ours.
        ours = not audiences or not set(audiences).isdisjoint(status.get("audiences") or ())
        if not (status.get("authenticated") and ours):
            return None
        user = status.get("user") or {}
        groups, extra = user.get("groups") or (), user.get("extra") or {}
        return Reviewed(user.get("username", ""), user.get("uid", ""), tuple(groups), extra)

    def subject_access_review(
        self, who: Reviewed, verb: str, namespace: str, name: str = "", subresource: str = ""
    ) -> bool:
        """Return whether the cluster's RBAC lets them do that to a MasterJob; a name of "" means all of them."""
        attributes = {"group": GROUP, "version": VERSION, "resource": PLURAL, "verb": verb, "namespace": namespace}
        attributes |= {key: text for key, text in (("name", name), ("subresource", subresource)) if text}
        spec = {"user": who.username, "uid": who.uid, "groups": list(who.groups), "resourceAttributes": attributes}
        spec["extra"] = {key: list(values) for key, values in who.extra.items()}
        return self._review("authorization.k8s.io", "SubjectAccessReview", spec).get("allowed") is True

    # --- one request

    def _pages(self, namespace: str | None) -> Sequence[Object]:
        objects: list[Object] = []
        token: str | None = None
        while True:
            more = {"limit": _PAGE, **({"_continue": token} if token else {})}
            if namespace is None:
                page = self._ask(self._objects.list_cluster_custom_object, GROUP, VERSION, PLURAL, **more)
            else:
                listing = self._objects.list_namespaced_custom_object
                page = self._ask(listing, GROUP, VERSION, namespace, PLURAL, **more)
            objects += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return objects

    def _one(self, call: Callable[..., Any], namespace: str, name: str, *args: Any, **more: Any) -> Object | None:
        try:
            found: Object = self._ask(call, GROUP, VERSION, namespace, PLURAL, name, *args, **more)
        except NotFound as error:
            if error.named == name:
                return None
            raise DefinitionMissing(str(error)) from None
        return found

    def _review(self, group: str, kind: str, spec: Mapping[str, Any]) -> Object:
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        create = self._objects.create_cluster_custom_object
        try:
            answer = self._ask(create, group, "v1", f"{kind.lower()}s", body)
        except NotFound as error:
            raise ApiRefused(404, str(error)) from None
        return answer.get("status") or {}

    def _ask(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """Make a request; its errors are those of this module."""
        try:
            with self._wires.used():
                answer = call(*args, _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), **more)
        except client.ApiException as error:
            raise understood(error) from None
        except (urllib3.exceptions.HTTPError, OSError, ConfigException, ValueError) as error:
            raise ApiUnavailable(f"{self.access.server} gives no answer: {cause(error)}") from None
        if answer is None or isinstance(answer, str):  # as a proxy may, with a page of its own
            raise ApiUnavailable(f"{self.access.server} gives an answer that is no object")
        return answer
