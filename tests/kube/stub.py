"""A stub API server in a thread: MasterJobs with versions and watches, and faults on demand.

with StubApiServer() as stub:
    stub.apply("a", lockName="LOCK")
    stub.fail_next("LIST", respond_with(503))  # the next request; a running watch goes on
    stub.delete_unobserved("a")        # no watch reports it
"""

import contextlib
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

API_PATH = "/apis/masterjob.io/v1alpha1"
_OBJECT_PATH = re.compile(
    rf"{API_PATH}(?:/namespaces/(?P<namespace>[^/]+))?/masterjobs(?:/(?P<name>[^/]+))?(?P<status>/status)?"
)
_EVENT_PATH = re.compile(r"/apis/events.k8s.io/v1/namespaces/(?P<namespace>[^/]+)/events")
_NAMESPACE_RESOURCE = {
    "name": "namespaces",
    "singularName": "namespace",
    "kind": "Namespace",
    "namespaced": False,
    "verbs": [],
}
_CRD_PATH = "/apis/apiextensions.k8s.io/v1"
_CRD_RESOURCE = {
    "name": "customresourcedefinitions",
    "singularName": "customresourcedefinition",
    "kind": "CustomResourceDefinition",
    "namespaced": False,
    "verbs": [],
}
_DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [_NAMESPACE_RESOURCE]},
    _CRD_PATH: {"resources": [_CRD_RESOURCE]},
}
_VERBS = ["get", "list", "watch", "patch"]
_MASTERJOB_RESOURCE = {
    "name": "masterjobs",
    "singularName": "masterjob",
    "kind": "MasterJob",
    "namespaced": True,
    "verbs": _VERBS,
}


@dataclass
class RecordedRequest:
    """A request that was received."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    @property
    def operation(self) -> str:
        """LIST, WATCH, GET, PATCH, POST or DISCOVERY."""
        found = _OBJECT_PATH.fullmatch(self.path)
        if self.verb != "GET":
            return self.verb
        if found is None:
            return "DISCOVERY"
        return "GET" if found["name"] else "WATCH" if "watch" in self.query else "LIST"


Fault = Callable[["Handler"], bool]
"""Handles a request badly; returns True if it has responded."""


@dataclass
class ServerState:
    """The state of the server, guarded by ``condition``."""

    condition: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    event_log: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    oldest_version: int = 0
    version: int = 100
    is_crd_installed: bool = True
    required_token: str | None = None
    forbidden_namespaces: set[str | None] = field(default_factory=set)
    next_faults: list[tuple[str, Fault]] = field(default_factory=list)
    permanent_faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[RecordedRequest] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    review_statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    watch_error: dict[str, Any] | None = None
    active_watches: int = 0
    closed: bool = False
    watch_epoch: int = 0


class StubApiServer:
    """The server, and what a test does to it."""

    def __init__(self) -> None:
        self.state = ServerState()
        self._uids = itertools.count(1)
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before if it was down."""
        state = self.state

        class BoundHandler(Handler):
            pass

        BoundHandler.state = state
        state.closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), BoundHandler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close all connections, and refuse new ones."""
        if self._server is not None:
            with self.state.condition:
                self.state.closed = True
                self.state.condition.notify_all()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # --- objects

    def apply(self, name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
        """Create an object, or change its spec."""
        with self.state.condition:
            previous = self.state.objects.get((namespace, name))
            metadata = previous["metadata"] if previous else self._new_metadata(name, namespace)
            generation = metadata["generation"] + (1 if previous and previous["spec"] != spec else 0)
            body = {
                "apiVersion": "masterjob.io/v1alpha1",
                "kind": "MasterJob",
                "metadata": {**metadata, "generation": generation},
                "spec": spec,
                **({"status": previous["status"]} if previous and "status" in previous else {}),
            }
            return _store(self.state, "MODIFIED" if previous else "ADDED", body)

    def delete(self, name: str, namespace: str = "default") -> None:
        with self.state.condition:
            body = self.state.objects.pop((namespace, name))
            _record_event(self.state, "DELETED", body)

    def delete_unobserved(self, name: str, namespace: str = "default") -> None:
        """Delete an object, and forget all events so far: a gap in the watch."""
        self.delete(name, namespace)
        self.compact_log()

    def compact_log(self) -> None:
        """Forget all events so far: a watch from an older version gets 410."""
        with self.state.condition:
            self.state.event_log.clear()
            self.state.version += 1
            self.state.oldest_version = self.state.version

    def _new_metadata(self, name: str, namespace: str) -> dict[str, Any]:
        number = next(self._uids)
        created = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
        uid = f"uid-{number}"
        return {"name": name, "namespace": namespace, "uid": uid, "generation": 1, "creationTimestamp": created}

    # --- faults

    def fail_next(self, operation: str, fault: Fault, times: int = 1) -> None:
        """Apply the fault to the next requests of that operation."""
        with self.state.condition:
            self.state.next_faults += [(operation, fault)] * times

    def fail_always(self, operation: str, fault: Fault | None) -> None:
        """Apply the fault to every request of that operation; None ends it."""
        with self.state.condition:
            if fault is None:
                self.state.permanent_faults.pop(operation, None)
            else:
                self.state.permanent_faults[operation] = fault

    def close_watches(self, error: int | None = None) -> None:
        """Close all watches; with a code, their last event is an ERROR."""
        with self.state.condition:
            self.state.watch_epoch += 1
            status = {"kind": "Status", "status": "Failure", "code": error, "message": "an error of the test"}
            self.state.watch_error = status if error else None
            self.state.condition.notify_all()

    # --- requests

    def count_requests(self, operation: str) -> int:
        with self.state.condition:
            return sum(request.operation == operation for request in self.state.requests)

    def requests(self, operation: str) -> list[RecordedRequest]:
        with self.state.condition:
            return [request for request in self.state.requests if request.operation == operation]


def _store(state: ServerState, event_type: str, body: dict[str, Any]) -> dict[str, Any]:
    metadata = body["metadata"]
    stored = {**body, "metadata": {**metadata}}
    state.objects[metadata["namespace"], metadata["name"]] = stored
    return _record_event(state, event_type, stored)


def _record_event(state: ServerState, event_type: str, body: dict[str, Any]) -> dict[str, Any]:
    state.version += 1
    body["metadata"] = {**body["metadata"], "resourceVersion": str(state.version)}
    state.event_log.append((state.version, event_type, json.loads(json.dumps(body))))
    state.condition.notify_all()
    return body


# --- faults


def respond_with(status: int, message: str = "a fault of the test", **headers: str) -> Fault:
    def fault(handler: "Handler") -> bool:
        handler.reply(status, _status_body(status, message), headers)
        return True

    return fault


def hang(handler: "Handler") -> bool:
    """Do not respond until the server goes down."""
    with handler.state.condition:
        handler.state.condition.wait_for(lambda: handler.state.closed)
    handler.close_connection = True
    return True


def reset(handler: "Handler") -> bool:
    """Reset the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.close_connection = True
    return True


def delay(seconds: float) -> Fault:
    def fault(_: "Handler") -> bool:
        time.sleep(seconds)  # simulates a slow server; no test waits for it
        return False

    return fault


def _status_body(code: int, message: str, name: str = "") -> dict[str, Any]:
    reason = {404: "NotFound", 409: "Conflict", 410: "Expired"}.get(code, "Failure")
    details = {"name": name} if name else {}
    return {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "message": message,
        "reason": reason,
        "details": details,
    }


def _api_group(text: str) -> dict[str, Any]:
    name, number = text.split("/")
    version = {"groupVersion": text, "version": number}
    return {"name": name, "versions": [version], "preferredVersion": version}


class Handler(BaseHTTPRequestHandler):
    """The handler of one connection."""

    state: ServerState
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PATCH = do_GET  # noqa: N815 - the base class names them so

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        request = RecordedRequest(
            self.command,
            parts.path.rstrip("/"),
            query,
            {name.title(): value for name, value in self.headers.items()},
            body,
        )
        with self.state.condition:
            if self.state.closed:
                self.close_connection = True
                return
            self.state.requests.append(request)
            self.state.condition.notify_all()
        if not any(fault(self) for fault in self._pop_faults(request.operation)):
            self._dispatch(request)

    def _pop_faults(self, operation: str) -> Iterator[Fault]:
        with self.state.condition:
            next_fault = next((each for each in self.state.next_faults if each[0] in (operation, "ANY")), None)
            if next_fault is not None:
                self.state.next_faults.remove(next_fault)
            permanent_fault = self.state.permanent_faults.get(operation) or self.state.permanent_faults.get("ANY")
        yield from (fault for fault in (next_fault and next_fault[1], permanent_fault) if fault)

    def _dispatch(self, request: RecordedRequest) -> None:
        found = _OBJECT_PATH.fullmatch(request.path)
        if (
            self.state.required_token is not None
            and request.headers.get("Authorization") != f"Bearer {self.state.required_token}"
        ):
            self.reply(401, _status_body(401, "Unauthorized"))
        elif found is None:
            self._dispatch_other(request)
        elif not self.state.is_crd_installed:
            self.reply(404, "404 page not found\n")
        elif found["namespace"] in self.state.forbidden_namespaces:
            self.reply(403, _status_body(403, "masterjobs.masterjob.io is forbidden"))
        elif request.operation == "WATCH":
            self._watch(request, found["namespace"])
        elif request.operation == "LIST":
            self._list(request, found["namespace"])
        else:
            self._get_or_patch(request, found["namespace"], found["name"])

    # --- MasterJobs

    def _list(self, request: RecordedRequest, namespace: str | None) -> None:
        limit, start = int(request.query.get("limit", 0)), int(request.query.get("continue", "0"))
        with self.state.condition:
            items = [each for key, each in sorted(self.state.objects.items()) if namespace in (None, key[0])]
            metadata: dict[str, Any] = {"resourceVersion": str(self.state.version)}
        if limit and start + limit < len(items):
            metadata["continue"] = str(start + limit)
        page = items[start : start + limit] if limit else items[start:]
        self.reply(200, {"kind": "MasterJobList", "metadata": metadata, "items": page})

    def _get_or_patch(self, request: RecordedRequest, namespace: str, name: str) -> None:
        with self.state.condition:
            body = self.state.objects.get((namespace, name))
            if body is None:
                self.reply(404, _status_body(404, f'masterjobs.masterjob.io "{name}" not found', name))
            elif request.verb == "GET":
                self.reply(200, body)
            else:
                self._patch(request, body)

    def _patch(self, request: RecordedRequest, body: dict[str, Any]) -> None:
        assert request.path.endswith("/status")
        assert request.headers["Content-Type"] == "application/json-patch+json"
        new = {step["path"]: step["value"] for step in request.body if step["op"] == "add"}
        if new["/metadata/resourceVersion"] != body["metadata"]["resourceVersion"]:
            self.reply(409, _status_body(409, "the object has been modified"))
        elif body.get("status", {}) == new["/status"]:
            self.reply(200, body)
        else:
            self.reply(200, _store(self.state, "MODIFIED", {**body, "status": new["/status"]}))

    def _watch(self, request: RecordedRequest, namespace: str | None) -> None:
        state, last_version = self.state, int(request.query["resourceVersion"])
        with state.condition:
            watch_epoch = state.watch_epoch
            is_expired = last_version < state.oldest_version
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if is_expired:
            self._send_event("ERROR", _status_body(410, "too old resource version"))
        while not is_expired:
            with state.condition:
                state.active_watches += 1
                while not (state.closed or state.watch_epoch != watch_epoch or state.version > last_version):
                    state.condition.wait()
                state.active_watches -= 1
                new_events = [each for each in state.event_log if each[0] > last_version]
                last_version, is_over, watch_error = (
                    state.version,
                    state.closed or state.watch_epoch != watch_epoch,
                    state.watch_error,
                )
            for _, event_type, body in () if is_over else new_events:
                if namespace in (None, body["metadata"]["namespace"]):
                    self._send_event(event_type, body)
            if is_over:
                if watch_error is not None and not state.closed:
                    self._send_event("ERROR", watch_error)
                break
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _send_event(self, event_type: str, body: dict[str, Any]) -> None:
        line = json.dumps({"type": event_type, "object": body}).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    # --- Events, reviews and discovery

    def _dispatch_other(self, request: RecordedRequest) -> None:
        events = _EVENT_PATH.fullmatch(request.path)
        plural = request.path.rpartition("/")[2]
        if request.path in _DISCOVERY:
            self.reply(200, {"kind": "APIResourceList", "groupVersion": "v1", **_DISCOVERY[request.path]})
        elif request.path == "/apis":
            groups = [
                "apiextensions.k8s.io/v1",
                *(["masterjob.io/v1alpha1"] if self.state.is_crd_installed else []),
            ]
            self.reply(200, {"kind": "APIGroupList", "groups": [_api_group(each) for each in groups]})
        elif request.path == API_PATH and self.state.is_crd_installed:
            self.reply(
                200,
                {
                    "kind": "APIResourceList",
                    "groupVersion": "masterjob.io/v1alpha1",
                    "resources": [_MASTERJOB_RESOURCE],
                },
            )
        elif events:
            name = request.body["metadata"]["name"]
            exists = self.state.events.setdefault(name, request.body) is not request.body
            self.reply(*((409, _status_body(409, "already exists", name)) if exists else (201, request.body)))
        elif plural in self.state.review_statuses:
            self.reply(201, {**request.body, "status": self.state.review_statuses[plural]})
        else:
            self.reply(404, "404 page not found\n")
