"""The calls that read: locks, their disables, and their history.

The fields that clients of the existing system know (instanceID, ipPort, version, heartbeatTime, lastUpdatedTime)
are there beside ours.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from aiohttp import web

from masterjob.availability.report import DEFAULT_PERIOD, parse_period
from masterjob.election.values import MAX_LOCK_NAME_LENGTH
from masterjob.errors import SettingError
from masterjob.lock_status import LockStatus, explain_how_to_enable
from masterjob.status_json import disabled_json, event_json, lock_json, report_json
from masterjob.web.access.auth import RequestRejected
from masterjob.web.api.request import ApiRequest
from masterjob.web.interfaces import LockOperations, Verb
from masterjob.web.pool import CallPool, SingleFlight

MAX_PAGE_SIZE = 1_000
"""The most locks, or history events, of one answer."""

DEFAULT_HISTORY_PAGE_SIZE = 100


def lock_not_found(lock_name: str) -> RequestRejected:
    """Return the error for a lock that has never been used."""
    return RequestRejected(404, f"the lock {lock_name} is not known: it has never been used")


@dataclass(frozen=True, slots=True)
class Page:
    """An encoded answer, and the query of the next page, if there is one."""

    body: bytes
    next_query: Mapping[str, str] = field(default_factory=dict)


class _LockPageQuery(NamedTuple):
    """A page of locks: up to ``limit`` that come after a name, or of their disables."""

    after: str
    limit: int
    is_of_disables: bool


class LockHandlers:
    """The handlers of the calls that read.

    An answer is encoded in the batch that reads it, once for all requests that share it: a large one delays
    neither the event loop nor, beyond the share of time that batches may use, the heartbeats.
    """

    def __init__(self, lock_admin: LockOperations, pool: CallPool) -> None:
        self._lock_admin = lock_admin
        self._lock_pages = SingleFlight(pool, self._read_pages)
        self._single_locks = SingleFlight(pool, self._read_single_locks)
        self._history_pages = SingleFlight(pool, self._read_histories)
        self._reports = SingleFlight(pool, self._read_reports)

    async def list_locks(self, http_request: web.Request) -> web.Response:
        """Return a page of the locks, ordered by name."""
        return await self._list_page(ApiRequest.of(http_request), is_of_disables=False)

    async def list_controls(self, http_request: web.Request) -> web.Response:
        """Return a page of the disabled locks, each with its newest disable."""
        return await self._list_page(ApiRequest.of(http_request), is_of_disables=True)

    async def get_lock(self, http_request: web.Request) -> web.Response:
        """Return one lock."""
        request = ApiRequest.of(http_request)
        name = request.lock_name
        await request.authorize(Verb.READ, name)
        page = await self._single_locks.fetch(name)
        if page is None:
            raise lock_not_found(name)
        return _page_response(request, page)

    async def get_history(self, http_request: web.Request) -> web.Response:
        """Return a page of a lock's history, newest first."""
        request = ApiRequest.of(http_request)
        name = request.lock_name
        limit, offset = (
            request.integer_parameter("limit", DEFAULT_HISTORY_PAGE_SIZE, 1, MAX_PAGE_SIZE),
            request.integer_parameter("offset", 0, 0, MAX_PAGE_SIZE),
        )
        await request.authorize(Verb.READ, name)
        page = await self._history_pages.fetch((name, limit, offset))
        if page is None:
            raise lock_not_found(name)
        return _page_response(request, page)

    async def get_report(self, http_request: web.Request) -> web.Response:
        """Return for which share of the time a lock's job ran."""
        request = ApiRequest.of(http_request)
        name = request.lock_name
        since = request.query_parameter("since")
        await request.authorize(Verb.READ, name)
        page = await self._reports.fetch((name, parse_period(DEFAULT_PERIOD if since is None else since)))
        if page is None:
            raise lock_not_found(name)
        return _page_response(request, page)

    async def _list_page(self, request: ApiRequest, *, is_of_disables: bool) -> web.Response:
        limit, after = (
            request.integer_parameter("limit", MAX_PAGE_SIZE, 1, MAX_PAGE_SIZE),
            request.query_parameter("after") or "",
        )
        if len(after) > MAX_LOCK_NAME_LENGTH:
            raise SettingError(f"after has {len(after)} characters: at most {MAX_LOCK_NAME_LENGTH} are allowed")
        await request.authorize(Verb.READ)
        query = _LockPageQuery(after, limit, is_of_disables)
        return _page_response(request, await self._lock_pages.fetch(query))

    # --- reading, in batches, on a thread of the pool

    def _read_pages(self, queries: list[_LockPageQuery]) -> dict[_LockPageQuery, Page]:
        return {query: self._read_page(query) for query in queries}

    def _read_page(self, query: _LockPageQuery) -> Page:
        """Return one page; one lock more is read, to know whether there is another page."""
        locks = self._lock_admin.status_page(query.after, query.limit + 1, only_disabled=query.is_of_disables)
        shown = locks[: query.limit]
        items = [_render_control(lock) if query.is_of_disables else _render_lock(lock) for lock in shown]
        next_query = {"after": shown[-1].lock_name} if len(locks) > len(shown) else {}
        return Page(_encode_json([each for each in items if each is not None]), next_query)

    def _read_single_locks(self, names: list[str]) -> dict[str, Page | None]:
        statuses = self._lock_admin.status_of(names)
        return {
            name: Page(_encode_json(_render_lock(statuses[name]))) if name in statuses else None for name in names
        }

    def _read_histories(self, queries: list[tuple[str, int, int]]) -> dict[tuple[str, int, int], Page | None]:
        return {query: self._read_history(*query) for query in queries}

    def _read_reports(self, queries: list[tuple[str, timedelta]]) -> dict[tuple[str, timedelta], Page | None]:
        return {query: self._read_report(*query) for query in queries}

    def _read_report(self, name: str, since: timedelta) -> Page | None:
        reports = self._lock_admin.report(since, name)
        return Page(_encode_json(report_json(reports[0]))) if reports else None

    def _read_history(self, name: str, limit: int, offset: int) -> Page | None:
        events = self._lock_admin.history(name, min(limit + offset + 1, MAX_PAGE_SIZE))
        if not events and not self._lock_admin.status(name):
            return None
        next_query = {"offset": str(offset + limit)} if len(events) > offset + limit else {}
        return Page(_encode_json([event_json(each) for each in events[offset : offset + limit]]), next_query)


def _encode_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _page_response(request: ApiRequest, page: Page) -> web.Response:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if page.next_query:  # relative, so that it is right behind a proxy too
        url = request.http_request.rel_url.update_query(page.next_query)
        headers["Link"] = f'<?{url.raw_query_string}>; rel="next"'
    return web.Response(body=page.body, headers=headers)


def _render_lock(lock: LockStatus) -> dict[str, Any]:
    master = lock.master
    heartbeat_ms = None if master is None else int((time.time() - master.heartbeat_age) * 1000)
    return {
        **lock_json(lock),
        "instanceID": None if master is None else master.instance,
        "ipPort": None if master is None else master.address,
        "version": lock.term,
        "heartbeatTime": heartbeat_ms,
    }


def _render_control(lock: LockStatus) -> dict[str, Any] | None:
    """Return the disable of the lock; None if it is enabled."""
    if lock.disabled is None:
        return None
    return {
        "lockName": lock.lock_name,
        "lastUpdatedTime": int(lock.disabled.since.timestamp() * 1000),
        **disabled_json(lock.disabled),
        "toEnable": explain_how_to_enable(lock),
    }
