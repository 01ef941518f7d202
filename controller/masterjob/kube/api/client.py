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

from masterjob.kube.api.cancel import InFlightSockets
from masterjob.kube.api.config import ClusterConfig
from masterjob.kube.api.errors import (
    ApiConflict,
    ApiNotFound,
    ApiRefused,
    ApiUnavailable,
    CrdNotInstalled,
    root_cause,
    translate_error,
)
from masterjob.resource.masterjob import API_VERSION, KIND

GROUP, VERSION = API_VERSION.split("/")
PLURAL = f"{KIND.lower()}s"

CONNECT_TIMEOUT, READ_TIMEOUT = 3.0, 10.0
"""Seconds until there is a connection, and until each next part of an answer."""

_PAGE_SIZE = 500
_MAX_ATTEMPTS = 3
_MAX_CONNECTIONS = 16

KubeObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who a token belongs to, as the API server says."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


class KubeApi:
    """The API server. Every method may be called from any thread, and waits for the answer.

    Every method may raise `ApiUnavailable` and `ApiRefused`.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        config.configuration.retries = False
        config.configuration.connection_pool_maxsize = _MAX_CONNECTIONS
        self._client = client.ApiClient(config.configuration)
        self._client.user_agent = "masterjob"
        self._in_flight = InFlightSockets()
        self._in_flight.install(self._client.rest_client.pool_manager)
        self._custom_objects = client.CustomObjectsApi(self._client)

    @property
    def cluster_id(self) -> str:
        """The same text for everybody in this cluster, and another one elsewhere."""
        return self.config.cluster_id

    @property
    def namespace(self) -> str | None:
        """The namespace that we are in, if that is known."""
        return self.config.namespace

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._client.rest_client.pool_manager.clear()

    def cancel(self, thread_id: int) -> None:
        """Have what that thread waits for here end now, as `ApiUnavailable`."""
        self._in_flight.cancel(thread_id)

    # --- MasterJobs

    def is_served(self) -> bool:
        """Whether discovery tells of the type too, which it does a moment after its definition was made."""
        try:
            groups = self._request(client.ApisApi(self._client).get_api_versions).groups
            if GROUP not in {each.name for each in groups}:
                return False
            resources = self._request(self._custom_objects.get_api_resources, GROUP, VERSION).resources
        except ApiNotFound:
            return False
        return PLURAL in {each.name for each in resources}

    def list(self, namespace: str | None) -> Sequence[KubeObject]:
        """Return all MasterJobs of a namespace, or of the cluster, as they are now.

        Raises:
            CrdNotInstalled: the type is not known.
        """
        for _ in range(_MAX_ATTEMPTS):
            try:
                return self._list_all_pages(namespace)
            except ApiRefused as error:
                if error.status != 410:  # the list took so long that its second half is of another time
                    raise
            except ApiNotFound as error:
                raise CrdNotInstalled(str(error)) from None
        raise ApiUnavailable("the list of MasterJobs was out of date before it was complete")

    def get(self, namespace: str, name: str) -> KubeObject | None:
        """Return a MasterJob as it is now, or None where there is none of that name.

        Raises:
            CrdNotInstalled: the type is not known.
        """
        return self._request_object(self._custom_objects.get_namespaced_custom_object, namespace, name)

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> KubeObject | None:
        """Put ``status`` in place of the whole one that was there, and return the object; None where it is gone.

        Raises:
            ApiConflict: the object is not of that version any more.
            CrdNotInstalled: the type is not known.
        """
        # A merge patch would keep what the new status has not. The version is set, not tested: a test that fails
        # is a 422 like any other, but an object that comes with an old version is a 409.
        patch = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        call = self._custom_objects.patch_namespaced_custom_object_status
        options = {"field_validation": "Strict", "_content_type": "application/json-patch+json"}
        return self._request_object(call, namespace, name, patch, **options)

    # --- Events and reviews

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create an Event of events.k8s.io/v1; False where one of its name is there already."""
        event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", **body}
        create = self._custom_objects.create_namespaced_custom_object
        try:
            self._request(create, "events.k8s.io", "v1", namespace, "events", event)
        except ApiConflict:
            return False
        except ApiNotFound as error:
            raise ApiRefused(404, str(error)) from None
        return True

    def token_review(self, token: str, audiences: Sequence[str] = ()) -> UserInfo | None:
        """Return whose token that is; None if nobody's, or if it was made for none of the ``audiences``."""
        spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
        status = self._create_review("authentication.k8s.io", "TokenReview", spec)
        # A server that knows nothing of audiences names none: its word is not about ours.
        is_for_us = not audiences or not set(audiences).isdisjoint(status.get("audiences") or ())
        if not (status.get("authenticated") and is_for_us):
            return None
        user = status.get("user") or {}
        groups, extra = user.get("groups") or (), user.get("extra") or {}
        return UserInfo(user.get("username", ""), user.get("uid", ""), tuple(groups), extra)

    def subject_access_review(
        self, user: UserInfo, verb: str, namespace: str, name: str = "", subresource: str = ""
    ) -> bool:
        """Return whether the cluster's RBAC lets them do that to a MasterJob; a name of "" means all of them."""
        attributes = {"group": GROUP, "version": VERSION, "resource": PLURAL, "verb": verb, "namespace": namespace}
        attributes |= {key: text for key, text in (("name", name), ("subresource", subresource)) if text}
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": list(user.groups),
            "resourceAttributes": attributes,
        }
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
        return self._create_review("authorization.k8s.io", "SubjectAccessReview", spec).get("allowed") is True

    # --- one request

    def _list_all_pages(self, namespace: str | None) -> Sequence[KubeObject]:
        objects: list[KubeObject] = []
        continue_token: str | None = None
        while True:
            options = {"limit": _PAGE_SIZE, **({"_continue": continue_token} if continue_token else {})}
            if namespace is None:
                page = self._request(
                    self._custom_objects.list_cluster_custom_object, GROUP, VERSION, PLURAL, **options
                )
            else:
                call = self._custom_objects.list_namespaced_custom_object
                page = self._request(call, GROUP, VERSION, namespace, PLURAL, **options)
            objects += page["items"]
            continue_token = page["metadata"].get("continue")
            if not continue_token:
                return objects

    def _request_object(
        self, call: Callable[..., Any], namespace: str, name: str, *args: Any, **kwargs: Any
    ) -> KubeObject | None:
        try:
            obj: KubeObject = self._request(call, GROUP, VERSION, namespace, PLURAL, name, *args, **kwargs)
        except ApiNotFound as error:
            if error.object_name == name:
                return None
            raise CrdNotInstalled(str(error)) from None
        return obj

    def _create_review(self, group: str, kind: str, spec: Mapping[str, Any]) -> KubeObject:
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        create = self._custom_objects.create_cluster_custom_object
        try:
            response = self._request(create, group, "v1", f"{kind.lower()}s", body)
        except ApiNotFound as error:
            raise ApiRefused(404, str(error)) from None
        return response.get("status") or {}

    def _request(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a request; its errors are those of this module."""
        try:
            with self._in_flight.track():
                response = call(*args, _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), **kwargs)
        except client.ApiException as error:
            raise translate_error(error) from None
        except (urllib3.exceptions.HTTPError, OSError, ConfigException, ValueError) as error:
            raise ApiUnavailable(f"{self.config.server} gives no answer: {root_cause(error)}") from None
        if response is None or isinstance(response, str):  # as a proxy may, with a page of its own
            raise ApiUnavailable(f"{self.config.server} gives an answer that is no object")
        return response
