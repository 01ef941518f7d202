"""The switch over HTTP: disable and enable, the wire contract of an existing system; and step-down.

Its source is ``api``, one beside the resource's or the file's: a lock is off if any of them says so. What another
source disables is not enabled here: that is refused, with what to patch or edit instead.
"""

import logging

from masterjob.errors import MasterJobError
from masterjob.lock_status import LockStatus, describe_actor, explain_how_to_enable
from masterjob.web.api.locks import lock_not_found
from masterjob.web.api.request import ApiRequest, optional_until, required_lock_name, required_text
from masterjob.web.interfaces import LockOperations, Verb
from masterjob.web.pool import CallPool

logger = logging.getLogger("masterjob")


class LockStateConflict(MasterJobError):
    """The lock is not in a state in which this can be done. It becomes a 409."""


class SwitchHandlers:
    """Each method takes what was asked and returns the sentence that is the answer."""

    def __init__(self, lock_admin: LockOperations, pool: CallPool) -> None:
        self._lock_admin = lock_admin
        self._pool = pool

    async def disable(self, request: ApiRequest) -> str:
        """Stop a lock's job; a second time the first reason is kept."""
        fields = await request.read_fields()
        name, reason, until = required_lock_name(fields), required_text(fields, "reason"), optional_until(fields)
        await request.authorize(Verb.SWITCH, name)
        actor = request.actor.name
        if not await self._pool.run(lambda: self._lock_admin.disable(name, reason, actor, until=until)):
            return f"{name} is already flagged as disabled"
        logger.info("%s is disabled by %s: %s", name, describe_actor(actor, "api", None), " ".join(reason.split()))
        return f"Flagged {name} as disabled"

    async def enable(self, request: ApiRequest) -> str:
        """Take the API's disable back.

        Raises:
            LockStateConflict: something else still disables the lock.
        """
        name = required_lock_name(await request.read_fields())
        await request.authorize(Verb.SWITCH, name)
        actor = request.actor.name
        changed, lock = await self._pool.run(lambda: self._enable_and_read(name, actor))
        if changed:
            logger.info("%s: the disable (api) was taken back by %s", name, actor)
        if lock is not None and lock.disabled is not None:
            raise LockStateConflict(
                f"{name} is still disabled by {lock.disabled.by}: {lock.disabled.reason}. "
                f"To enable it: {explain_how_to_enable(lock)}"
            )
        return f"{name} is flagged for (re)enablement"

    def _enable_and_read(self, name: str, actor: str) -> tuple[bool, LockStatus | None]:
        changed = self._lock_admin.enable(name, actor)
        statuses = self._lock_admin.status(name)
        return changed, statuses[0] if statuses else None

    async def step_down(self, request: ApiRequest) -> str:
        """Ask the present master to give its term to another instance.

        Raises:
            LockStateConflict: there is no master.
        """
        name = request.lock_name
        fields = await request.read_fields() if request.http_request.can_read_body else {}
        reason = required_text(fields, "reason") if "reason" in fields else ""
        await request.authorize(Verb.SWITCH, name)
        actor = request.actor.name
        if not await self._pool.run(lambda: self._lock_admin.step_down(name, actor, reason)):
            if not await self._pool.run(lambda: self._lock_admin.status(name)):
                raise lock_not_found(name)
            raise LockStateConflict(f"{name} has no master that could step down")
        reason_suffix = f": {' '.join(reason.split())}" if reason else ""
        logger.info("the master of %s is asked to step down by %s%s", name, actor, reason_suffix)
        return f"the master of {name} was asked to step down"
