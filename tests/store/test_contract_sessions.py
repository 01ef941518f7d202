"""Sessions: open, renew, list, evict, close. The same on every store."""

from masterjob.election.ports import Store
from masterjob.election.values import Inventory, StopRequest, Term
from tests.store.conftest import Backend, claim_lock, new_session, open_session


def test_a_new_session_is_seen_with_its_first_heartbeat(store: Store) -> None:
    new = new_session("one", lease_ms=24_000)
    store.open_session(new)
    (seen,) = store.list_sessions().sessions
    assert (seen.id, seen.instance, seen.beat, seen.lease_ms) == (new.id, "one", 1, 24_000)
    assert 0 <= seen.age_ms < 5_000


def test_the_clock_is_returned_even_without_sessions(store: Store) -> None:
    session_list = store.list_sessions()
    assert session_list.sessions == ()
    assert session_list.clock_ms > 1_700_000_000_000


def test_the_clock_of_the_database_goes_on(store: Store) -> None:
    first = store.list_sessions().clock_ms
    assert first <= store.list_sessions().clock_ms < first + 5_000


def test_a_renewal_increases_the_beat_and_resets_the_age(backend: Backend, store: Store) -> None:
    session_id = open_session(store)
    backend.backdate(session_id, 10_000)
    assert store.list_sessions().sessions[0].age_ms >= 10_000
    assert store.renew(session_id, "one") == Inventory(0, 0)
    (seen,) = store.list_sessions().sessions
    assert seen.beat == 2
    assert seen.age_ms < 5_000


def test_an_evicted_session_cannot_be_renewed(store: Store) -> None:
    session_id = open_session(store)
    assert store.evict(session_id, 1, if_stale=False) == ()
    assert store.renew(session_id, "one") is None


def test_a_renewal_returns_what_all_sessions_of_the_instance_hold(store: Store) -> None:
    one, two, other = open_session(store, "one"), open_session(store, "one"), open_session(store, "other")
    mine = [claim_lock(store, one, "a"), claim_lock(store, two, "b")]
    claim_lock(store, other, "c")
    assert store.renew(one, "one") == Inventory.of(mine)
    assert store.read_inventory("one") == Inventory.of(mine)
    assert store.read_inventory("unknown") == Inventory(0, 0)


def test_held_terms_are_listed_with_their_sessions(store: Store) -> None:
    one, two = open_session(store, "one"), open_session(store, "one")
    a, b = claim_lock(store, one, "a"), claim_lock(store, two, "b")
    assert {(held.term, held.session_id) for held in store.list_held_terms("one")} == {(a, one), (b, two)}


def test_a_disabled_lock_is_flagged_with_a_reason(backend: Backend, store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    claim_lock(store, session_id, "another")
    backend.disable("job")
    renewed = store.renew(session_id, "one")
    assert renewed is not None
    (flagged,) = renewed.stop_requests
    assert (flagged.term, flagged.is_step_down) == (term, False)
    assert flagged.reason.startswith("disabled")


def test_a_requested_step_down_is_flagged_as_such(store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    assert store.request_step_down(term, "ann", "to move it")
    (flagged,) = store.read_inventory("one").stop_requests
    assert (flagged.term, flagged.is_step_down) == (term, True)
    assert flagged.reason.startswith("asked to step down")


def test_a_disable_takes_precedence_over_a_step_down_request(backend: Backend, store: Store) -> None:
    session_id = open_session(store)
    store.request_step_down(claim_lock(store, session_id), "ann", "to move it")
    backend.disable("job")
    (flagged,) = store.read_inventory("one").stop_requests
    assert isinstance(flagged, StopRequest)
    assert not flagged.is_step_down


def test_an_eviction_frees_the_locks_and_returns_the_terms_it_ended(store: Store) -> None:
    dead = open_session(store, "dead")
    terms = {claim_lock(store, dead, "a"), claim_lock(store, dead, "b")}
    ended = store.evict(dead, 1, if_stale=False)
    assert ended is not None
    assert set(ended) == terms
    assert store.list_vacancies().lock_names == ("a", "b")
    assert store.list_sessions().sessions == ()


def test_a_session_that_was_renewed_since_is_not_evicted(store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    store.renew(session_id, "one")
    assert store.evict(session_id, 1, if_stale=False) is None
    assert store.read_inventory("one") == Inventory.of([term])


def test_a_session_inside_its_lease_is_not_evicted_as_stale(backend: Backend, store: Store) -> None:
    session_id = open_session(store, lease_ms=24_000)
    backend.backdate(session_id, 15_000)
    assert store.evict(session_id, 1, if_stale=True) is None


def test_a_session_over_its_own_lease_is_evicted_as_stale(backend: Backend, store: Store) -> None:
    short, long = open_session(store, lease_ms=10_000), open_session(store, lease_ms=60_000)
    backend.backdate(short, 20_000)
    backend.backdate(long, 20_000)
    assert store.evict(long, 1, if_stale=True) is None
    assert store.evict(short, 1, if_stale=True) == ()


def test_a_session_is_evicted_only_once(store: Store) -> None:
    session_id = open_session(store)
    assert store.evict(session_id, 1, if_stale=False) is not None
    assert store.evict(session_id, 1, if_stale=False) is None


def test_closing_a_session_frees_what_it_still_holds(store: Store) -> None:
    session_id = open_session(store)
    claim_lock(store, session_id)
    store.close_session(session_id)
    assert store.list_vacancies().lock_names == ("job",)
    assert store.renew(session_id, "one") is None
    store.close_session(session_id)


def test_every_store_returns_terms_of_the_same_type(store: Store) -> None:
    term = claim_lock(store, open_session(store))
    assert isinstance(term, Term)
    assert type(term.number) is int
    assert term.number > 1_700_000_000_000
