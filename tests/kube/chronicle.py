"""A watch of a test's own, which keeps every version of every MasterJob: also what is there for a moment only."""

import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import urllib3

from tests.envtest.daemons import ApiServer
from tests.kube.conftest import GROUP

Body = Mapping[str, Any]

_PATIENCE = 10.0
_TIMEOUT = urllib3.Timeout(connect=1, read=60)


class Chronicle:
    """Every version of every MasterJob from now on, as whoever may do anything is told of them."""

    def __init__(self, api: ApiServer) -> None:
        self.changed = threading.Condition()
        self._api = api
        self._versions: dict[tuple[str, str], list[Body]] = {}
        self._there: dict[tuple[str, str], bool] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chronicle", daemon=True)
        self._thread.start()

    def versions(self, namespace: str, name: str) -> list[Body]:
        with self.changed:
            return list(self._versions.get((namespace, name), ()))

    def all(self) -> list[list[Body]]:
        with self.changed:
            return [list(versions) for versions in self._versions.values()]

    def is_there(self, namespace: str, name: str) -> bool:
        with self.changed:
            return self._there.get((namespace, name), False)

    def close(self) -> None:
        self._closing.set()

    def join(self) -> None:
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._closing.is_set():
            # What is refused or cut off is asked again, from a new list on.
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError, _Again), self._pool() as pool:
                since = self._list(pool)
                while not self._closing.is_set():
                    since = self._watch(pool, since)
            self._closing.wait(0.1)

    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(ca_certs=str(self._api.authority), retries=False, timeout=_TIMEOUT)

    def _ask(self, pool: urllib3.PoolManager, query: str, *, whole: bool) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self._api.token}"}
        url = f"{self._api.url}{GROUP}/masterjobs{query}"
        answer = pool.request("GET", url, headers=headers, preload_content=whole)
        if answer.status != 200:
            raise _Again
        return answer

    def _list(self, pool: urllib3.PoolManager) -> str:
        said = self._ask(pool, "", whole=True).json()
        there = {_name(body) for body in said["items"]}
        for body in said["items"]:
            self._take(body, there=True)
        with self.changed:
            self._there = dict.fromkeys(there, True)
            self.changed.notify_all()
        return str(said["metadata"]["resourceVersion"])

    def _watch(self, pool: urllib3.PoolManager, since: str) -> str:
        """Watch for two seconds, so that it is over soon where nobody wants it any more."""
        answer = self._ask(pool, f"?watch=1&timeoutSeconds=2&resourceVersion={since}", whole=False)
        rest = b""
        for chunk in answer.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            for event in map(json.loads, lines):
                if event["type"] == "ERROR":
                    raise _Again
                self._take(event["object"], there=event["type"] != "DELETED")
                since = event["object"]["metadata"]["resourceVersion"]
        answer.release_conn()
        return since

    def _take(self, body: Body, *, there: bool) -> None:
        with self.changed:
            versions = self._versions.setdefault(_name(body), [])
            if not versions or versions[-1]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                versions.append(body)
            self._there[_name(body)] = there
            self.changed.notify_all()


class _Again(Exception):
    """The watch has to begin anew."""


def _name(body: Body) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]
