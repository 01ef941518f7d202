"""The switch over HTTP: disable and enable, the wire contract of an existing system; and step-down.

Its source is ``api``, one beside the resource's or the file's: a lock is off if any of them says so. What another
source disables is not enabled here: that is refused, with what to patch or edit instead.
"""

import logging

from masterjob.election.errors import MasterJobError
from masterjob.election.views import LockStatus, how_to_enable, said_by
from masterjob.web.api.asked import Asked, lock_of, text_of, until_of
from masterjob.web.api.locks import unknown
from masterjob.web.calls import Calls
from masterjob.web.ports import Board, Verb

logger = logging.getLogger("masterjob")


class Refused(MasterJobError):
    """The lock is not in a state in which this can be done. It becomes a 409."""


class Controls:
    """Each method takes what was asked and returns the sentence that is the answer."""

    def __init__(self, board: Board, calls: Calls) -> None:
        self._board = board
        self._calls = calls

    async def disable(self, asked: Asked) -> str:
        """Stop a lock's job; a second time the first reason is kept."""
        fields = await asked.fields()
        name, reason, until = lock_of(fields), text_of(fields, "reason"), until_of(fields)
        await asked.may(Verb.SWITCH, name)
        actor = asked.actor.name
        if not await self._calls.run(lambda: self._board.disable(name, reason, actor, until=until)):
            return f"{name} is already flagged as disabled"
        logger.info("%s is disabled by %s: %s", name, said_by(actor, "api", None), " ".join(reason.split()))
        return f"Flagged {name} as disabled"

    async def enable(self, asked: Asked) -> str:
        """Take the API's disable back.

        Raises:
            Refused: something else still disables the lock.
        """
        name = lock_of(await asked.fields())
        await asked.may(Verb.SWITCH, name)
        actor = asked.actor.name
        changed, lock = await self._calls.run(lambda: self._enable(name, actor))
        if changed:
            logger.info("%s: the disable (api) was taken back by %s", name, actor)
        if lock is not None and lock.disabled is not None:
            raise Refused(
                f"{name} is still disabled by {lock.disabled.by}: {lock.disabled.reason}. "
                f"To enable it: {how_to_enable(lock)}"
            )
        return f"{name} is flagged for (re)enablement"

    def _enable(self, name: str, actor: str) -> tuple[bool, LockStatus | None]:
        changed = self._board.enable(name, actor)
        found = self._board.status(name)
        return changed, found[0] if found else None

    async def step_down(self, asked: Asked) -> str:
        """Ask the present master to give its term to another instance.

        Raises:
            Refused: there is no master.
        """
        name = asked.lock_name
        fields = await asked.fields() if asked.request.can_read_body else {}
        reason = text_of(fields, "reason") if "reason" in fields else ""
        await asked.may(Verb.SWITCH, name)
        actor = asked.actor.name
        if not await self._calls.run(lambda: self._board.step_down(name, actor, reason)):
            if not await self._calls.run(lambda: self._board.status(name)):
                raise unknown(name)
            raise Refused(f"{name} has no master that could step down")
        why = f": {' '.join(reason.split())}" if reason else ""
        logger.info("the master of %s is asked to step down by %s%s", name, actor, why)
        return f"the master of {name} was asked to step down"
