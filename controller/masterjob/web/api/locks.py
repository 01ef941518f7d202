"""What can be read: locks, what disables them, and what happened to them.

The names that clients of the existing system know (instanceID, ipPort, version, heartbeatTime, lastUpdatedTime)
stand beside our own.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from aiohttp import web

from masterjob.asjson import disabled_json, event_json, lock_json
from masterjob.election.errors import SettingError
from masterjob.election.values import LOCK_NAME_LIMIT
from masterjob.election.views import LockStatus, how_to_enable
from masterjob.web.access.auth import Denied
from masterjob.web.api.asked import Asked
from masterjob.web.api.rounds import Rounds
from masterjob.web.calls import Calls
from masterjob.web.ports import Board, Verb

PAGE = 1_000
"""How many locks, or lines of a history, an answer has at most."""

HISTORY_PAGE = 100


def unknown(lock_name: str) -> Denied:
    """Return the error for a lock that nobody has used yet."""
    return Denied(404, f"no lock {lock_name} is known: nobody has used it yet")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as it is sent, and where the next page begins, if there is one."""

    body: bytes
    next: Mapping[str, str] = field(default_factory=dict)


class _Wanted(NamedTuple):
    """A page of locks: those after a name, so many, and what is told of each."""

    after: str
    limit: int
    told: Callable[[LockStatus], dict[str, Any] | None]


class Locks:
    """Each method takes what was asked and returns the answer.

    An answer is written by the round that read it, once for all who share it, so that large ones hold up neither
    the event loop nor, but for the part of the time that rounds may have, the heartbeats.
    """

    def __init__(self, board: Board, calls: Calls) -> None:
        self._board = board
        self._pages = Rounds(calls, self._read_pages)
        self._some = Rounds(calls, self._read_some)
        self._histories = Rounds(calls, self._read_histories)

    async def all(self, asked: Asked) -> web.Response:
        """Return the locks in the order of their names, a page at a time."""
        return await self._page(asked, _lock)

    async def controls(self, asked: Asked) -> web.Response:
        """Return what disables locks, a page at a time."""
        return await self._page(asked, _control)

    async def one(self, asked: Asked) -> web.Response:
        """Return one lock."""
        name = asked.lock_name
        await asked.may(Verb.READ, name)
        found: Page | None = await self._some.ask(name)
        if found is None:
            raise unknown(name)
        return _answer(asked, found)

    async def history(self, asked: Asked) -> web.Response:
        """Return what happened to a lock, the newest first, a page at a time."""
        name = asked.lock_name
        limit, offset = asked.number("limit", HISTORY_PAGE, 1, PAGE), asked.number("offset", 0, 0, PAGE)
        await asked.may(Verb.READ, name)
        found: Page | None = await self._histories.ask((name, limit, offset))
        if found is None:
            raise unknown(name)
        return _answer(asked, found)

    async def _page(self, asked: Asked, told: Callable[[LockStatus], dict[str, Any] | None]) -> web.Response:
        limit, after = asked.number("limit", PAGE, 1, PAGE), asked.queried("after") or ""
        if len(after) > LOCK_NAME_LIMIT:
            raise SettingError(f"after has {len(after)} characters: {LOCK_NAME_LIMIT} are the most")
        await asked.may(Verb.READ)
        found: Page = await self._pages.ask(_Wanted(after, limit, told))
        return _answer(asked, found)

    # --- what rounds read, on a thread that may block

    def _read_pages(self, wanted: list[_Wanted]) -> dict[_Wanted, Page]:
        locks = sorted(self._board.status(), key=lambda lock: lock.lock_name)
        return {each: _page_of(locks, each) for each in wanted}

    def _read_some(self, names: list[str]) -> dict[str, Page | None]:
        found = self._board.status_of(names)
        return {name: Page(_written(_lock(found[name]))) if name in found else None for name in names}

    def _read_histories(self, wanted: list[tuple[str, int, int]]) -> dict[tuple[str, int, int], Page | None]:
        return {each: self._history_of(*each) for each in wanted}

    def _history_of(self, name: str, limit: int, offset: int) -> Page | None:
        events = self._board.history(name, min(limit + offset + 1, PAGE))
        if not events and not self._board.status(name):
            return None
        more = {"offset": str(offset + limit)} if len(events) > offset + limit else {}
        return Page(_written([event_json(each) for each in events[offset : offset + limit]]), more)


def _page_of(locks: list[LockStatus], wanted: _Wanted) -> Page:
    after = (lock for lock in locks if lock.lock_name > wanted.after)
    told = (each for each in map(wanted.told, after) if each is not None)
    page = list(islice(told, wanted.limit))
    return Page(_written(page), {"after": page[-1]["lockName"]} if next(told, None) is not None else {})


def _written(said: Any) -> bytes:
    return json.dumps(said).encode()


def _answer(asked: Asked, page: Page) -> web.Response:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if page.next:  # relative, so that it is right behind a proxy too
        url = asked.request.rel_url.update_query(page.next)
        headers["Link"] = f'<?{url.raw_query_string}>; rel="next"'
    return web.Response(body=page.body, headers=headers)


def _lock(lock: LockStatus) -> dict[str, Any]:
    master = lock.master
    beat = None if master is None else int((time.time() - master.heartbeat_age) * 1000)
    return {
        **lock_json(lock),
        "instanceID": None if master is None else master.instance,
        "ipPort": None if master is None else master.address,
        "version": lock.term,
        "heartbeatTime": beat,
    }


def _control(lock: LockStatus) -> dict[str, Any] | None:
    """Return what disables the lock, if anything does."""
    if lock.disabled is None:
        return None
    return {
        "lockName": lock.lock_name,
        "lastUpdatedTime": int(lock.disabled.since.timestamp() * 1000),
        **disabled_json(lock.disabled),
        "toEnable": how_to_enable(lock),
    }
