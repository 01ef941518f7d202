"""An API server as a thread: MasterJobs with versions and watches, and whatever may go wrong with it on command.

with Stub() as stub:
    stub.put("a", lockName="LOCK")
    stub.answer_next(503)              # the next request but a running watch
    stub.vanish("a")                   # no watch tells of it
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

GROUP = "/apis/masterjob.io/v1alpha1"
_OBJECTS = re.compile(
    rf"{GROUP}(?:/namespaces/(?P<namespace>[^/]+))?/masterjobs(?:/(?P<name>[^/]+))?(?P<status>/status)?"
)
_EVENTS = re.compile(r"/apis/events.k8s.io/v1/namespaces/(?P<namespace>[^/]+)/events")
_NAMESPACES = {
    "name": "namespaces",
    "singularName": "namespace",
    "kind": "Namespace",
    "namespaced": False,
    "verbs": [],
}
_CRDS = "/apis/apiextensions.k8s.io/v1"
_CRD = {
    "name": "customresourcedefinitions",
    "singularName": "customresourcedefinition",
    "kind": "CustomResourceDefinition",
    "namespaced": False,
    "verbs": [],
}
_DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [_NAMESPACES]},
    _CRDS: {"resources": [_CRD]},
}
_VERBS = ["get", "list", "watch", "patch"]
_TYPE = {
    "name": "masterjobs",
    "singularName": "masterjob",
    "kind": "MasterJob",
    "namespaced": True,
    "verbs": _VERBS,
}


@dataclass
class Asked:
    """A request."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    @property
    def kind(self) -> str:
        """What it is for: LIST, WATCH, GET, PATCH, POST, or DISCOVERY."""
        found = _OBJECTS.fullmatch(self.path)
        if self.verb != "GET":
            return self.verb
        if found is None:
            return "DISCOVERY"
        return "GET" if found["name"] else "WATCH" if "watch" in self.query else "LIST"


Fault = Callable[["Handler"], bool]
"""Does something bad to a request; True where it has answered."""


@dataclass
class World:
    """What the server knows. Everything under ``changed``."""

    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    oldest: int = 0
    version: int = 100
    defined: bool = True
    token: str | None = None
    forbidden: set[str | None] = field(default_factory=set)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    always: dict[str, Fault] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    reviews: dict[str, dict[str, Any]] = field(default_factory=dict)
    watch_fault: dict[str, Any] | None = None
    watching: int = 0
    closed: bool = False
    epoch: int = 0


class Stub:
    """The server, and the hands of a test in it."""

    def __init__(self) -> None:
        self.world = World()
        self._uids = itertools.count(1)
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen; on the port that it had before, if it was down."""
        world = self.world

        class Here(Handler):
            pass

        Here.world = world
        world.closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Here)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and end those that there are."""
        if self._server is not None:
            with self.world.changed:
                self.world.closed = True
                self.world.changed.notify_all()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # --- objects

    def put(self, name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
        """Create an object, or change its spec."""
        with self.world.changed:
            before = self.world.objects.get((namespace, name))
            metadata = before["metadata"] if before else self._new_metadata(name, namespace)
            generation = metadata["generation"] + (1 if before and before["spec"] != spec else 0)
            body = {
                "apiVersion": "masterjob.io/v1alpha1",
                "kind": "MasterJob",
                "metadata": {**metadata, "generation": generation},
                "spec": spec,
                **({"status": before["status"]} if before and "status" in before else {}),
            }
            return _store(self.world, "MODIFIED" if before else "ADDED", body)

    def delete(self, name: str, namespace: str = "default") -> None:
        with self.world.changed:
            body = self.world.objects.pop((namespace, name))
            _tell(self.world, "DELETED", body)

    def vanish(self, name: str, namespace: str = "default") -> None:
        """Delete an object in a gap: all that happened until now is forgotten by the log."""
        self.delete(name, namespace)
        self.forget()

    def forget(self) -> None:
        """Forget what has happened: whoever watches from there on gets 410."""
        with self.world.changed:
            self.world.log.clear()
            self.world.version += 1
            self.world.oldest = self.world.version

    def _new_metadata(self, name: str, namespace: str) -> dict[str, Any]:
        number = next(self._uids)
        created = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
        uid = f"uid-{number}"
        return {"name": name, "namespace": namespace, "uid": uid, "generation": 1, "creationTimestamp": created}

    # --- faults

    def fail_next(self, kind: str, fault: Fault, times: int = 1) -> None:
        """Do that to the next requests of a kind."""
        with self.world.changed:
            self.world.faults += [(kind, fault)] * times

    def fail_always(self, kind: str, fault: Fault | None) -> None:
        """Do that to every request of a kind; None ends it."""
        with self.world.changed:
            if fault is None:
                self.world.always.pop(kind, None)
            else:
                self.world.always[kind] = fault

    def end_watches(self, error: int | None = None) -> None:
        """Close all watches; with a code, an ERROR event is the last that they tell."""
        with self.world.changed:
            self.world.epoch += 1
            code = {"kind": "Status", "status": "Failure", "code": error, "message": "an error of the test"}
            self.world.watch_fault = code if error else None
            self.world.changed.notify_all()

    # --- what was asked

    def count(self, kind: str) -> int:
        with self.world.changed:
            return sum(asked.kind == kind for asked in self.world.asked)

    def asked(self, kind: str) -> list[Asked]:
        with self.world.changed:
            return [asked for asked in self.world.asked if asked.kind == kind]


def _store(world: World, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    metadata = body["metadata"]
    stored = {**body, "metadata": {**metadata}}
    world.objects[metadata["namespace"], metadata["name"]] = stored
    return _tell(world, kind, stored)


def _tell(world: World, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    world.version += 1
    body["metadata"] = {**body["metadata"], "resourceVersion": str(world.version)}
    world.log.append((world.version, kind, json.loads(json.dumps(body))))
    world.changed.notify_all()
    return body


# --- faults


def answer(status: int, message: str = "a fault of the test", **headers: str) -> Fault:
    def fault(handler: "Handler") -> bool:
        handler.reply(status, _status(status, message), headers)
        return True

    return fault


def hang(handler: "Handler") -> bool:
    """Say nothing until the server goes down."""
    with handler.world.changed:
        handler.world.changed.wait_for(lambda: handler.world.closed)
    handler.close_connection = True
    return True


def reset(handler: "Handler") -> bool:
    """End the connection hard."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.close_connection = True
    return True


def slow(seconds: float) -> Fault:
    def fault(_: "Handler") -> bool:
        time.sleep(seconds)  # it is the world that is slow, nobody waits here for anything
        return False

    return fault


def _status(code: int, message: str, name: str = "") -> dict[str, Any]:
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


def _group(text: str) -> dict[str, Any]:
    name, number = text.split("/")
    version = {"groupVersion": text, "version": number}
    return {"name": name, "versions": [version], "preferredVersion": version}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    world: World
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_GET  # noqa: N815 - the base class names them so

    def log_message(self, *_: object) -> None:
        """Say nothing."""

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

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked = Asked(
            self.command,
            parts.path.rstrip("/"),
            query,
            {name.title(): value for name, value in self.headers.items()},
            body,
        )
        with self.world.changed:
            if self.world.closed:
                self.close_connection = True
                return
            self.world.asked.append(asked)
            self.world.changed.notify_all()
        if not any(fault(self) for fault in self._faults(asked.kind)):
            self._answer(asked)

    def _faults(self, kind: str) -> Iterator[Fault]:
        with self.world.changed:
            due = next((each for each in self.world.faults if each[0] in (kind, "ANY")), None)
            if due is not None:
                self.world.faults.remove(due)
            lasting = self.world.always.get(kind) or self.world.always.get("ANY")
        yield from (fault for fault in (due and due[1], lasting) if fault)

    def _answer(self, asked: Asked) -> None:
        found = _OBJECTS.fullmatch(asked.path)
        if self.world.token is not None and asked.headers.get("Authorization") != f"Bearer {self.world.token}":
            self.reply(401, _status(401, "Unauthorized"))
        elif found is None:
            self._answer_other(asked)
        elif not self.world.defined:
            self.reply(404, "404 page not found\n")
        elif found["namespace"] in self.world.forbidden:
            self.reply(403, _status(403, "masterjobs.masterjob.io is forbidden"))
        elif asked.kind == "WATCH":
            self._watch(asked, found["namespace"])
        elif asked.kind == "LIST":
            self._list(asked, found["namespace"])
        else:
            self._one(asked, found["namespace"], found["name"])

    # --- MasterJobs

    def _list(self, asked: Asked, namespace: str | None) -> None:
        limit, start = int(asked.query.get("limit", 0)), int(asked.query.get("continue", "0"))
        with self.world.changed:
            items = [each for key, each in sorted(self.world.objects.items()) if namespace in (None, key[0])]
            metadata: dict[str, Any] = {"resourceVersion": str(self.world.version)}
        if limit and start + limit < len(items):
            metadata["continue"] = str(start + limit)
        page = items[start : start + limit] if limit else items[start:]
        self.reply(200, {"kind": "MasterJobList", "metadata": metadata, "items": page})

    def _one(self, asked: Asked, namespace: str, name: str) -> None:
        with self.world.changed:
            body = self.world.objects.get((namespace, name))
            if body is None:
                self.reply(404, _status(404, f'masterjobs.masterjob.io "{name}" not found', name))
            elif asked.verb == "GET":
                self.reply(200, body)
            else:
                self._patch(asked, body)

    def _patch(self, asked: Asked, body: dict[str, Any]) -> None:
        assert asked.path.endswith("/status")
        assert asked.headers["Content-Type"] == "application/json-patch+json"
        new = {step["path"]: step["value"] for step in asked.body if step["op"] == "add"}
        if new["/metadata/resourceVersion"] != body["metadata"]["resourceVersion"]:
            self.reply(409, _status(409, "the object has been modified"))
        elif body.get("status", {}) == new["/status"]:
            self.reply(200, body)
        else:
            self.reply(200, _store(self.world, "MODIFIED", {**body, "status": new["/status"]}))

    def _watch(self, asked: Asked, namespace: str | None) -> None:
        world, since = self.world, int(asked.query["resourceVersion"])
        with world.changed:
            epoch = world.epoch
            gone = since < world.oldest
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if gone:
            self._say("ERROR", _status(410, "too old resource version"))
        while not gone:
            with world.changed:
                world.watching += 1
                while not (world.closed or world.epoch != epoch or world.version > since):
                    world.changed.wait()
                world.watching -= 1
                news = [each for each in world.log if each[0] > since]
                since, over, fault = world.version, world.closed or world.epoch != epoch, world.watch_fault
            for _, kind, body in () if over else news:
                if namespace in (None, body["metadata"]["namespace"]):
                    self._say(kind, body)
            if over:
                if fault is not None and not world.closed:
                    self._say("ERROR", fault)
                break
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _say(self, kind: str, body: dict[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": body}).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    # --- the rest

    def _answer_other(self, asked: Asked) -> None:
        events = _EVENTS.fullmatch(asked.path)
        kind = asked.path.rpartition("/")[2]
        if asked.path in _DISCOVERY:
            self.reply(200, {"kind": "APIResourceList", "groupVersion": "v1", **_DISCOVERY[asked.path]})
        elif asked.path == "/apis":
            groups = ["apiextensions.k8s.io/v1", *(["masterjob.io/v1alpha1"] if self.world.defined else [])]
            self.reply(200, {"kind": "APIGroupList", "groups": [_group(each) for each in groups]})
        elif asked.path == GROUP and self.world.defined:
            self.reply(
                200, {"kind": "APIResourceList", "groupVersion": "masterjob.io/v1alpha1", "resources": [_TYPE]}
            )
        elif events:
            name = asked.body["metadata"]["name"]
            there = self.world.events.setdefault(name, asked.body) is not asked.body
            self.reply(*((409, _status(409, "already exists", name)) if there else (201, asked.body)))
        elif kind in self.world.reviews:
            self.reply(201, {**asked.body, "status": self.world.reviews[kind]})
        else:
            self.reply(404, "404 page not found\n")
