"""The switch over HTTP: disable and enable, the wire contract of an existing system; and step-down.

The API is one source of several, ``api``, beside the resource's or the file's: a lock is off if any of them
disables it. The API cannot enable what another source disables: it answers 409 with what to patch or edit instead.
"""

import logging

from aiohttp import web

from masterjob.errors import MasterJobError
from masterjob.lock_status import LockStatus, describe_actor, explain_how_to_enable
from masterjob.log_fields import log_fields
from masterjob.web.api.locks import lock_not_found
from masterjob.web.api.request import ApiRequest, optional_until, required_lock_name, required_text
from masterjob.web.interfaces import LockOperations, Verb
from masterjob.web.pool import CallPool

logger = logging.getLogger("masterjob")


class LockStateConflict(MasterJobError):
    """The state of the lock does not allow this. It is answered with 409."""


class SwitchHandlers:
    """The handlers of the calls that change something. Each answers with a sentence."""

    def __init__(self, lock_admin: LockOperations, pool: CallPool) -> None:
        self._lock_admin = lock_admin
        self._pool = pool

    async def disable(self, http_request: web.Request) -> web.Response:
        """Stop a lock's job; if the API disables it already, the first reason is kept."""
        request = ApiRequest.of(http_request)
        fields = await request.read_fields()
        name, reason, until = required_lock_name(fields), required_text(fields, "reason"), optional_until(fields)
        await request.authorize(Verb.SWITCH, name)
        actor = request.actor.name

        def disable_and_explain() -> tuple[bool, str]:
            unknown = self._lock_admin.explain_unknown(name)
            return self._lock_admin.disable(name, reason, actor, until=until), unknown

        changed, unknown = await self._pool.run(disable_and_explain)
        if not changed:
            return web.json_response(f"{name} is already flagged as disabled")
        by, shown = describe_actor(actor, "api", None), " ".join(reason.split())
        extra = log_fields(lock=name, event="disabled", reason=shown)
        logger.info("%s is disabled by %s: %s", name, by, shown, extra=extra)
        return web.json_response(f"Flagged {name} as disabled" + (f" in advance: {unknown}" if unknown else ""))

    async def enable(self, http_request: web.Request) -> web.Response:
        """Take back the API's disable.

        Raises:
            LockStateConflict: another source still disables the lock.
        """
        request = ApiRequest.of(http_request)
        name = required_lock_name(await request.read_fields())
        await request.authorize(Verb.SWITCH, name)
        actor = request.actor.name

        def enable_and_read() -> tuple[bool, list[LockStatus]]:
            return self._lock_admin.enable(name, actor), self._lock_admin.status(name)

        changed, statuses = await self._pool.run(enable_and_read)
        if changed:
            message, extra = "%s: the disable (api) was taken back by %s", log_fields(lock=name, event="enabled")
            logger.info(message, name, actor, extra=extra)
        if statuses and (disabled := statuses[0].disabled) is not None:
            raise LockStateConflict(
                f"{name} is still disabled by {disabled.by}: {disabled.reason}. "
                f"To enable it: {explain_how_to_enable(statuses[0])}"
            )
        return web.json_response(f"{name} is flagged for (re)enablement")

    async def forget(self, http_request: web.Request) -> web.Response:
        """Delete a lock that is not used any more, with its history.

        Raises:
            LockStateConflict: it is in use.
        """
        request = ApiRequest.of(http_request)
        name = request.lock_name
        await request.authorize(Verb.SWITCH, name)
        if not await self._pool.run(lambda: self._lock_admin.status(name)):
            raise lock_not_found(name)
        if (kept := await self._pool.run(lambda: self._lock_admin.forget(name))) is not None:
            raise LockStateConflict(f"{name} is kept, because {kept}")
        extra = log_fields(lock=name, event="forgotten")
        logger.info("%s and its history are deleted by %s", name, request.actor.name, extra=extra)
        return web.json_response(f"{name} is forgotten")

    async def step_down(self, http_request: web.Request) -> web.Response:
        """Ask the master to step down, so that another instance takes over.

        Raises:
            LockStateConflict: there is no master.
        """
        request = ApiRequest.of(http_request)
        name = request.lock_name
        fields = await request.read_fields() if http_request.can_read_body else {}
        reason = required_text(fields, "reason") if "reason" in fields else ""
        await request.authorize(Verb.SWITCH, name)
        actor = request.actor.name
        if not await self._pool.run(lambda: self._lock_admin.step_down(name, actor, reason)):
            if not await self._pool.run(lambda: self._lock_admin.status(name)):
                raise lock_not_found(name)
            raise LockStateConflict(f"{name} has no master that could step down")
        reason = " ".join(reason.split())
        logger.info(
            "the master of %s is asked to step down by %s%s",
            name,
            actor,
            f": {reason}" if reason else "",
            extra=log_fields(lock=name, event="step-down asked", reason=reason or None),
        )
        return web.json_response(f"the master of {name} was asked to step down")
