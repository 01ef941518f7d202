"""The quarantine after a promotion: what it refuses, and its end. The same on every store."""

from dataclasses import replace

from masterjob.election.ports import Store
from tests.store.conftest import Backend, claim_lock, open_session


def test_only_the_quarantine_that_was_seen_is_ended(backend: Backend, store: Store) -> None:
    backend.quarantine()
    seen = store.list_sessions().incarnation
    for other in (replace(seen, since_ms=seen.since_ms - 1), replace(seen, name="another")):
        assert not store.end_quarantine(other)
    assert store.list_sessions().incarnation.is_quarantined
    assert store.end_quarantine(seen)
    assert not store.list_sessions().incarnation.is_quarantined


def test_in_a_quarantine_locks_are_neither_claimed_nor_freed_by_evictions_but_released(
    backend: Backend, store: Store
) -> None:
    session_id, silent = open_session(store), open_session(store, "silent")
    term = claim_lock(store, session_id)
    store.ensure_locks(["free"])
    backend.quarantine()
    assert store.claim(session_id, ["free"]) == ()
    assert store.evict(silent, 1, if_stale=False) is None
    assert store.renew(session_id, "one") is not None
    store.release([session_id], [term])
    assert set(store.list_vacancies().lock_names) == {"free", "job"}


def test_an_eviction_names_the_incarnation_in_which_the_beat_was_seen(store: Store) -> None:
    session_id = open_session(store)
    seen = store.list_sessions().incarnation
    assert store.evict(session_id, 1, if_stale=False, incarnation=replace(seen, since_ms=1)) is None
    assert store.evict(session_id, 1, if_stale=False, incarnation=replace(seen, name="another")) is None
    assert store.evict(session_id, 1, if_stale=False, incarnation=seen) == ()
