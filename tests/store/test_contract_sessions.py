"""Sessions: opening, renewing, looking, evicting, leaving. The same on every store."""

from masterjob.election.ports import Store
from masterjob.election.values import Flagged, Inventory, Term
from tests.store.conftest import Backend, elected, opened, session


def test_a_new_session_is_seen_with_its_first_heartbeat(store: Store) -> None:
    new = session("one", lease_ms=24_000)
    store.open(new)
    (seen,) = store.census().sessions
    assert (seen.id, seen.instance, seen.beat, seen.lease_ms) == (new.id, "one", 1, 24_000)
    assert 0 <= seen.age_ms < 5_000


def test_the_clock_is_told_even_when_there_is_no_session(store: Store) -> None:
    census = store.census()
    assert census.sessions == ()
    assert census.clock_ms > 1_700_000_000_000


def test_the_clock_of_the_database_goes_on(store: Store) -> None:
    first = store.census().clock_ms
    assert first <= store.census().clock_ms < first + 5_000


def test_a_renewal_beats_once_more_and_makes_the_session_young(backend: Backend, store: Store) -> None:
    me = opened(store)
    backend.backdate(me, 10_000)
    assert store.census().sessions[0].age_ms >= 10_000
    assert store.renew(me, "one") == Inventory(0, 0)
    (seen,) = store.census().sessions
    assert seen.beat == 2
    assert seen.age_ms < 5_000


def test_an_evicted_session_cannot_be_renewed(store: Store) -> None:
    me = opened(store)
    assert store.evict(me, 1, if_stale=False) == ()
    assert store.renew(me, "one") is None


def test_a_renewal_returns_what_all_sessions_of_the_instance_hold(store: Store) -> None:
    one, two, other = opened(store, "one"), opened(store, "one"), opened(store, "other")
    mine = [elected(store, one, "a"), elected(store, two, "b")]
    elected(store, other, "c")
    assert store.renew(one, "one") == Inventory.of(mine)
    assert store.inventory("one") == Inventory.of(mine)
    assert store.inventory("nobody") == Inventory(0, 0)


def test_what_is_held_is_told_in_full(store: Store) -> None:
    one, two = opened(store, "one"), opened(store, "one")
    a, b = elected(store, one, "a"), elected(store, two, "b")
    assert {(held.term, held.session_id) for held in store.held("one")} == {(a, one), (b, two)}


def test_a_disabled_lock_is_flagged_with_a_reason(backend: Backend, store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    elected(store, me, "another")
    backend.disable("job")
    renewed = store.renew(me, "one")
    assert renewed is not None
    (flagged,) = renewed.flagged
    assert (flagged.term, flagged.asked) == (term, False)
    assert flagged.why.startswith("disabled")


def test_an_asked_term_is_flagged_as_asked(store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    assert store.ask_step_down(term, "ann", "to move it")
    (flagged,) = store.inventory("one").flagged
    assert (flagged.term, flagged.asked) == (term, True)
    assert flagged.why.startswith("asked to step down")


def test_a_term_both_asked_and_disabled_counts_as_disabled(backend: Backend, store: Store) -> None:
    me = opened(store)
    store.ask_step_down(elected(store, me), "ann", "to move it")
    backend.disable("job")
    (flagged,) = store.inventory("one").flagged
    assert isinstance(flagged, Flagged)
    assert not flagged.asked


def test_an_eviction_frees_the_locks_and_tells_which_terms_it_ended(store: Store) -> None:
    dead = opened(store, "dead")
    terms = {elected(store, dead, "a"), elected(store, dead, "b")}
    ended = store.evict(dead, 1, if_stale=False)
    assert ended is not None
    assert set(ended) == terms
    assert store.vacancies().names == ("a", "b")
    assert store.census().sessions == ()


def test_a_session_that_has_beaten_since_is_not_evicted(store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    store.renew(me, "one")
    assert store.evict(me, 1, if_stale=False) is None
    assert store.inventory("one") == Inventory.of([term])


def test_a_session_inside_its_lease_is_not_evicted_as_stale(backend: Backend, store: Store) -> None:
    me = opened(store, lease_ms=24_000)
    backend.backdate(me, 15_000)
    assert store.evict(me, 1, if_stale=True) is None


def test_a_session_over_its_own_lease_is_evicted_as_stale(backend: Backend, store: Store) -> None:
    short, long = opened(store, lease_ms=10_000), opened(store, lease_ms=60_000)
    backend.backdate(short, 20_000)
    backend.backdate(long, 20_000)
    assert store.evict(long, 1, if_stale=True) is None
    assert store.evict(short, 1, if_stale=True) == ()


def test_nobody_is_evicted_twice(store: Store) -> None:
    me = opened(store)
    assert store.evict(me, 1, if_stale=False) is not None
    assert store.evict(me, 1, if_stale=False) is None


def test_who_leaves_frees_what_it_still_holds(store: Store) -> None:
    me = opened(store)
    elected(store, me)
    store.leave(me)
    assert store.vacancies().names == ("job",)
    assert store.renew(me, "one") is None
    store.leave(me)


def test_terms_are_values_that_every_store_gives_alike(store: Store) -> None:
    term = elected(store, opened(store))
    assert isinstance(term, Term)
    assert type(term.number) is int
    assert term.number > 1_700_000_000_000
