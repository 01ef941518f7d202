"""What the status of a MasterJob says: a pure projection of what the database has, and of what this instance does.

Whoever projects it at the same time comes to the same status. What nobody else can know comes from the master
itself: whether its job runs, and with which timing. Others leave that as they found it.

Source: design sections 6.1 and 6.3.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from masterjob.election.views import Disabled, MasterSeen, moment_text
from masterjob.kube.status.conditions import written
from masterjob.kube.status.facts import Facts
from masterjob.kube.status.judgement import conditions

MASTERS_OWN_TIME = timedelta(seconds=5)
"""How long after an election it is left to the master to write the status."""


def project(facts: Facts, now: datetime) -> dict[str, Any]:
    """Return the whole status; a key that is not in it is to be removed."""
    before, master = facts.before, facts.master
    generation = facts.observed_generation
    term = max(before.get("term", 0), facts.lock.term if facts.lock is not None and facts.owns_lock else 0)
    newly = int(master is not None and term > before.get("term", 0))
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "term": term,
        "transitions": before.get("transitions", 0) + newly,
        "conditions": written(conditions(facts), before.get("conditions", ()), generation, now),
    }
    if master is not None:
        status["master"] = _master(master)
    if facts.lock is not None and facts.lock.disabled is not None and facts.owns_lock:
        status["disabled"] = _disabled(facts.lock.disabled)
    if (timing := _timing(facts)) is not None:
        status["timing"] = dict(timing)
    return status


def may_be_told(facts: Facts) -> bool:
    """Whether this instance knows enough to write the status.

    An instance that has lost the database does not know who else has not: it says so where it was master itself,
    or where nothing was said yet.
    """
    return facts.database_trouble is None or facts.own_doing is not None or "conditions" not in facts.before


def is_behind(facts: Facts) -> bool:
    """Whether the status knows a higher term than the database, and so is not to be overwritten lightly."""
    term = facts.lock.term if facts.lock is not None else 0
    return facts.database_trouble is None and facts.owns_lock and term < facts.before.get("term", 0)


def is_for_its_master(facts: Facts, now: datetime) -> bool:
    """Whether another instance was just elected: it tells so itself, and of its job with the same write."""
    master = facts.master
    if master is None or facts.lock is None or facts.own_doing is not None:
        return False
    lately = abs(now - master.since) < MASTERS_OWN_TIME  # its time is the database's, and may be in our future
    return facts.lock.term > facts.before.get("term", 0) and lately


def _timing(facts: Facts) -> Mapping[str, Any] | None:
    """Pods may have different settings, as in the middle of an upgrade: those of the master are told."""
    if not facts.owns_lock:
        return None
    if facts.own_doing is not None or "timing" not in facts.before:
        return facts.timing or facts.before.get("timing")
    timing: Mapping[str, Any] = facts.before["timing"]
    return timing


def _master(master: MasterSeen) -> dict[str, Any]:
    return {
        "instance": master.instance,
        "pod": master.pod or master.instance,
        "node": master.node,
        "address": master.address,
        "since": moment_text(master.since),
    }


def _disabled(disabled: Disabled) -> dict[str, Any]:
    told = {
        "reason": disabled.reason,
        "actor": disabled.actor,
        "source": disabled.source,
        "since": moment_text(disabled.since),
    }
    return told if disabled.until is None else told | {"until": moment_text(disabled.until)}
