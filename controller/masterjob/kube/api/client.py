"""Requests to the API server, each with a timeout and typed errors.

Failed requests are not retried here; that is for the caller. A request without an answer raises `ApiUnavailable`,
and may have been executed nevertheless.
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
"""Seconds until a connection is established, and until each next part of a response."""

_PAGE_SIZE = 500
_MAX_ATTEMPTS = 3
_MAX_CONNECTIONS = 16

KubeObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """The user that a token belongs to, according to the API server."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


class KubeApi:
    """A client of the API server. All methods may be called from any thread, and wait for the response.

    Every request may raise `ApiUnavailable` and `ApiRefused`.
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
        """The identifier of the cluster, the same for all of its clients; empty if unknown."""
        return self.config.cluster_id

    @property
    def namespace(self) -> str | None:
        """The namespace of this pod or kubeconfig context, if known."""
        return self.config.namespace

    def close(self) -> None:
        """Close the idle connections."""
        self._client.rest_client.pool_manager.clear()

    def cancel(self, thread_id: int) -> None:
        """Make the pending request of a thread raise `ApiUnavailable` now."""
        self._in_flight.cancel(thread_id)

    # --- MasterJobs

    def is_served(self) -> bool:
        """Return whether discovery has the type, which it has a moment after the CRD was created."""
        try:
            groups = self._request(client.ApisApi(self._client).get_api_versions).groups
            if GROUP not in {each.name for each in groups}:
                return False
            resources = self._request(self._custom_objects.get_api_resources, GROUP, VERSION).resources
        except ApiNotFound:
            return False
        return PLURAL in {each.name for each in resources}

    def list(self, namespace: str | None) -> Sequence[KubeObject]:
        """Return all MasterJobs of a namespace, or of the cluster if it is None.

        Raises:
            CrdNotInstalled: the API server does not know the type.
        """
        for _ in range(_MAX_ATTEMPTS):
            try:
                return self._list_all_pages(namespace)
            except ApiRefused as error:
                if error.status != 410:  # the list has expired between two pages
                    raise
            except ApiNotFound as error:
                raise CrdNotInstalled(str(error)) from None
        raise ApiUnavailable("the list of MasterJobs expired before it was complete")

    def get(self, namespace: str, name: str) -> KubeObject | None:
        """Return a MasterJob, or None if there is none with that name.

        Raises:
            CrdNotInstalled: the API server does not know the type.
        """
        return self._request_object(self._custom_objects.get_namespaced_custom_object, namespace, name)

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> KubeObject | None:
        """Replace the whole status, and return the object, or None if it does not exist any more.

        Raises:
            ApiConflict: the object does not have that resource version any more.
            CrdNotInstalled: the API server does not know the type.
        """
        # A merge patch would keep fields that the new status does not have. The version is set, not tested: a
        # failed test is a 422 like any other, but an object with an old version is a 409.
        patch = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        call = self._custom_objects.patch_namespaced_custom_object_status
        options = {"field_validation": "Strict", "_content_type": "application/json-patch+json"}
        return self._request_object(call, namespace, name, patch, **options)

    # --- Events and reviews

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create an Event of events.k8s.io/v1; return False if there is one with its name already."""
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
        """Return the user of the token, or None if it is invalid, or is for none of the ``audiences``."""
        spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
        status = self._create_review("authentication.k8s.io", "TokenReview", spec)
        # A server that does not support audiences returns none, and has not checked ours.
        is_for_us = not audiences or not set(audiences).isdisjoint(status.get("audiences") or ())
        if not (status.get("authenticated") and is_for_us):
            return None
        user = status.get("user") or {}
        groups, extra = user.get("groups") or (), user.get("extra") or {}
        return UserInfo(user.get("username", ""), user.get("uid", ""), tuple(groups), extra)

    def subject_access_review(
        self, user: UserInfo, verb: str, namespace: str, name: str = "", subresource: str = ""
    ) -> bool:
        """Return whether the cluster's RBAC allows that on a MasterJob, or on all if ``name`` is empty."""
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

    # --- helpers

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
        """Send a request, and translate its errors."""
        try:
            with self._in_flight.track():
                response = call(*args, _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), **kwargs)
        except client.ApiException as error:
            raise translate_error(error) from None
        except (urllib3.exceptions.HTTPError, OSError, ConfigException, ValueError) as error:
            raise ApiUnavailable(f"{self.config.server} does not answer: {root_cause(error)}") from None
        if response is None or isinstance(response, str):  # a proxy may answer with a page of its own
            raise ApiUnavailable(f"{self.config.server} does not answer with a JSON object")
        return response
