"""A watch that keeps every version of every MasterJob, even those that exist only briefly."""

import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import urllib3

from tests.envtest.daemons import ApiServer
from tests.kube.conftest import API_PATH
from tests.timeouts import WAIT_TIMEOUT

Body = Mapping[str, Any]

_TIMEOUT = urllib3.Timeout(connect=1, read=60)


class WatchLog:
    """Every version of every MasterJob from now on, with the rights of an administrator."""

    def __init__(self, api: ApiServer) -> None:
        self.condition = threading.Condition()
        self._api = api
        self._versions: dict[tuple[str, str], list[Body]] = {}
        self._existing: dict[tuple[str, str], bool] = {}
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-log", daemon=True)
        self._thread.start()

    def versions(self, namespace: str, name: str) -> list[Body]:
        with self.condition:
            return list(self._versions.get((namespace, name), ()))

    def all(self) -> list[list[Body]]:
        with self.condition:
            return [list(versions) for versions in self._versions.values()]

    def exists(self, namespace: str, name: str) -> bool:
        with self.condition:
            return self._existing.get((namespace, name), False)

    def close(self) -> None:
        self._is_closing.set()

    def join(self) -> None:
        self._thread.join(WAIT_TIMEOUT)

    def _run(self) -> None:
        while not self._is_closing.is_set():
            # A request that fails is retried, beginning with a new list.
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError, _RestartWatch), self._pool() as pool:
                resource_version = self._list(pool)
                while not self._is_closing.is_set():
                    resource_version = self._watch(pool, resource_version)
            self._is_closing.wait(0.1)

    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(ca_certs=str(self._api.ca_file), retries=False, timeout=_TIMEOUT)

    def _request(self, pool: urllib3.PoolManager, query: str, *, preload: bool) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self._api.token}"}
        url = f"{self._api.url}{API_PATH}/masterjobs{query}"
        response = pool.request("GET", url, headers=headers, preload_content=preload)
        if response.status != 200:
            response.close()
            raise _RestartWatch
        return response

    def _list(self, pool: urllib3.PoolManager) -> str:
        object_list = self._request(pool, "", preload=True).json()
        existing = {_key(body) for body in object_list["items"]}
        for body in object_list["items"]:
            self._record(body, exists=True)
        with self.condition:
            self._existing = dict.fromkeys(existing, True)
            self.condition.notify_all()
        return str(object_list["metadata"]["resourceVersion"])

    def _watch(self, pool: urllib3.PoolManager, resource_version: str) -> str:
        """Watch for two seconds, so that `join` does not wait longer."""
        response = self._request(
            pool, f"?watch=1&timeoutSeconds=2&resourceVersion={resource_version}", preload=False
        )
        with contextlib.closing(response):  # the pool closes only connections that were returned to it
            buffer = b""
            for chunk in response.stream():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for event in map(json.loads, lines):
                    if event["type"] == "ERROR":
                        raise _RestartWatch
                    self._record(event["object"], exists=event["type"] != "DELETED")
                    resource_version = event["object"]["metadata"]["resourceVersion"]
        return resource_version

    def _record(self, body: Body, *, exists: bool) -> None:
        with self.condition:
            versions = self._versions.setdefault(_key(body), [])
            if not versions or versions[-1]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                versions.append(body)
            self._existing[_key(body)] = exists
            self.condition.notify_all()


class _RestartWatch(Exception):
    """The watch must be restarted."""


def _key(body: Body) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]
