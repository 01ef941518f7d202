"""Who holds what: the verbs on `master_lock`, each one conditional UPDATE; what it changed is the answer.

Source: design sections 3.1 and 3.2.
"""

import contextlib
from collections.abc import Sequence

from masterjob.election.errors import StoreUnavailable
from masterjob.election.values import Entry, Held, Inventory, Kind, Term, Vacancies
from masterjob.store.connection.dialects import MYSQL
from masterjob.store.connection.lines import Line, Refused
from masterjob.store.verbs import history, inventory, switch
from masterjob.store.verbs.switch import chunks
from masterjob.store.wakeups import announce

# The term is built on the epoch, so that it grows even where a promoted replica has lost the last claims.
_CLAIM = """
    UPDATE {locks} SET holder = :me, term = {greatest}(term + 1, {now_ms}), acquired_at = {now},
        step_down_term = NULL
    WHERE {these_free} AND enabled AND holder IS NULL {in_order}
"""
# Only there, where an UPDATE waits for every row that somebody else has locked: one of them would hold up all.
_NOT_LOCKED = """
    SELECT lock_name FROM {locks} WHERE {these_free} AND enabled AND holder IS NULL FOR UPDATE SKIP LOCKED
"""
_CLAIMED = """
    SELECT lock_name, term FROM master_lock WHERE holder = :me AND lock_name IN :names ORDER BY lock_name
"""
_MOVE = "UPDATE master_lock SET holder = :new WHERE lock_name = :lock_name AND holder = :old AND term = :term"
_HOLDER = "SELECT holder FROM master_lock WHERE lock_name = :lock_name AND term = :term"
_RELEASE = "UPDATE master_lock SET holder = NULL WHERE holder IN :sessions AND (lock_name, term) IN :terms"
_ASK = """
    UPDATE master_lock SET step_down_term = :term
    WHERE lock_name = :lock_name AND term = :term AND holder IS NOT NULL
"""
_FREE = "SELECT lock_name FROM master_lock WHERE enabled AND holder IS NULL ORDER BY lock_name"
_FACTS = """
    SELECT (SELECT COUNT(*) FROM master_lock) AS locks,
           (SELECT COUNT(*) FROM master_lock WHERE enabled) AS enabled,
           (SELECT COUNT(DISTINCT instance) FROM master_session WHERE heartbeat_ms + lease_ms > {now_ms})
               AS instances,
           (SELECT COUNT(*) FROM master_control WHERE NOT enabled AND until <= {now_ms}) AS due,
           (SELECT MIN(until) - {now_ms} FROM master_control WHERE NOT enabled AND until > {now_ms}) AS due_ms
"""


class LockVerbs:
    """The port `Locks` on a line to a database."""

    _line: Line

    def ensure(self, names: Sequence[str]) -> None:
        """Write the rows of these locks where there are none yet."""
        switch.ensure(self._line, names)

    def vacancies(self) -> Vacancies:
        """End the timed disables that are due, then read which locks are enabled and free."""
        facts = self._line.rows(_FACTS)[0]
        if facts.due:
            switch.end_due(self._line)
            facts = self._line.rows(_FACTS)[0]
        names = tuple(row.lock_name for row in self._line.rows(_FREE))
        return Vacancies(names, facts.enabled, facts.instances, facts.due_ms, facts.locks)

    def claim(self, session_id: str, names: Sequence[str]) -> tuple[Term, ...]:
        """Take those of ``names`` that are enabled and free; return all of them that the session holds now.

        An evicted session gets none: the foreign key refuses what it would take.
        """
        held: list[Term] = []
        for some in chunks(sorted(set(names))):
            try:
                if free := self._not_locked(some):
                    self._line.change(_CLAIM, me=session_id, names=free)
            except Refused:
                return ()
            held += [Term(row.lock_name, row.term) for row in self._line.rows(_CLAIMED, me=session_id, names=some)]
        return tuple(held)

    def _not_locked(self, names: list[str]) -> list[str]:
        """Leave out what a claim would have to wait for; a hint, since the claim itself decides."""
        if self._line.dialect is not MYSQL:
            return names
        return [row.lock_name for row in self._line.rows(_NOT_LOCKED, names=names)]

    def move(self, term: Term, old: str, new: str) -> str | None:
        """Hand the held term from session ``old`` to ``new``; return which session holds it now, if any."""
        key = {"lock_name": term.lock_name, "term": term.number}
        with contextlib.suppress(Refused):  # `new` was evicted: then it stays where it is
            self._line.change(_MOVE, old=old, new=new, **key)
        rows = self._line.rows(_HOLDER, **key)
        return rows[0].holder if rows else None

    def release(self, session_ids: Sequence[str], terms: Sequence[Term]) -> None:
        """Free these locks where one of the sessions holds just this term; tell the others."""
        if not session_ids:
            return
        for some in chunks(sorted(set(terms))):
            pairs = [(term.lock_name, term.number) for term in some]
            if self._line.change(_RELEASE, sessions=list(session_ids), terms=pairs):
                announce(self._line, [term.lock_name for term in some])

    def inventory(self, instance: str) -> Inventory:
        """Read what the sessions of the instance hold, in short, and which of it is flagged."""
        return inventory.read(self._line, instance)

    def held(self, instance: str) -> tuple[Held, ...]:
        """Read what the sessions of the instance hold, in full."""
        return inventory.read_in_full(self._line, instance)

    def ask_step_down(self, term: Term, actor: str, reason: str) -> bool:
        """Ask exactly this term to step down; tell its master. Return whether it was held."""
        if self._line.change(_ASK, lock_name=term.lock_name, term=term.number) == 0:
            return False
        with contextlib.suppress(StoreUnavailable):  # it is asked for already; only its history is missing
            self.record([Entry(term.lock_name, term.number, Kind.STEP_DOWN_ASKED, reason, actor=actor)])
        announce(self._line, [term.lock_name])
        return True

    def record(self, entries: Sequence[Entry]) -> None:
        """Add lines to the history."""
        if entries:
            self._line.run(lambda connection: history.write(connection, self._line.dialect, entries))
