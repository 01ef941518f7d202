"""What can be read: locks, what disables them, and what happened to them.

The names that clients of the existing system know (instanceID, ipPort, version, heartbeatTime, lastUpdatedTime)
stand beside our own.
"""

import time
from typing import Any

from aiohttp import web

from masterjob.asjson import disabled_json, event_json, lock_json
from masterjob.election.errors import SettingError
from masterjob.election.values import LOCK_NAME_LIMIT
from masterjob.election.views import Event, LockStatus, how_to_enable
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


class Locks:
    """Each method takes what was asked and returns the JSON that is the answer."""

    def __init__(self, board: Board, calls: Calls) -> None:
        self._board = board
        self._all = Rounds(calls, lambda asked: dict.fromkeys(asked, board.status()))
        self._some = Rounds(calls, lambda names: {**dict.fromkeys(names), **board.status_of(names)})
        self._histories = Rounds(calls, self._read)

    def _read(self, asked: list[tuple[str, int]]) -> dict[tuple[str, int], list[Event]]:
        return {(name, wanted): self._board.history(name, wanted) for name, wanted in asked}

    async def all(self, asked: Asked) -> web.Response:
        """Return the locks in the order of their names, a page at a time."""
        return await self._page(asked, await self._locks(asked), _lock)

    async def controls(self, asked: Asked) -> web.Response:
        """Return what disables locks, a page at a time."""
        disabled = [lock for lock in await self._locks(asked) if lock.disabled is not None]
        return await self._page(asked, disabled, _control)

    async def one(self, asked: Asked) -> dict[str, Any]:
        """Return one lock."""
        name = asked.lock_name
        await asked.may(Verb.READ, name)
        found: LockStatus | None = await self._some.ask(name)
        if found is None:
            raise unknown(name)
        return _lock(found)

    async def history(self, asked: Asked) -> web.Response:
        """Return what happened to a lock, the newest first, a page at a time."""
        name = asked.lock_name
        limit, offset = asked.number("limit", HISTORY_PAGE, 1, PAGE), asked.number("offset", 0, 0, PAGE)
        await asked.may(Verb.READ, name)
        events: list[Event] = await self._histories.ask((name, min(limit + offset + 1, PAGE)))
        if not events and await self._some.ask(name) is None:
            raise unknown(name)
        more = {"offset": str(offset + limit)} if len(events) > offset + limit else None
        return _answer(asked, [event_json(each) for each in events[offset : offset + limit]], more)

    async def _locks(self, asked: Asked) -> list[LockStatus]:
        await asked.may(Verb.READ)
        after = asked.request.query.get("after", "")
        if len(after) > LOCK_NAME_LIMIT:
            raise SettingError(f"after has {len(after)} characters: {LOCK_NAME_LIMIT} are the most")
        found: list[LockStatus] = await self._all.ask("all")
        return sorted((lock for lock in found if lock.lock_name > after), key=lambda lock: lock.lock_name)

    async def _page(self, asked: Asked, locks: list[LockStatus], told: Any) -> web.Response:
        limit = asked.number("limit", PAGE, 1, PAGE)
        more = {"after": locks[limit - 1].lock_name} if len(locks) > limit else None
        return _answer(asked, [told(lock) for lock in locks[:limit]], more)


def _answer(asked: Asked, items: list[Any], more: dict[str, str] | None) -> web.Response:
    headers = {}
    if more is not None:  # relative, so that it is right behind a proxy too
        url = asked.request.rel_url.update_query(more)
        headers["Link"] = f'<?{url.raw_query_string}>; rel="next"'
    return web.json_response(items, headers=headers)


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


def _control(lock: LockStatus) -> dict[str, Any]:
    assert lock.disabled is not None  # noqa: S101 - for the type checker
    return {
        "lockName": lock.lock_name,
        "lastUpdatedTime": int(lock.disabled.since.timestamp() * 1000),
        **disabled_json(lock.disabled),
        "toEnable": how_to_enable(lock),
    }
