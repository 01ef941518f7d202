"""Locks: claim, move, release, list vacancies. The same on every store."""

from masterjob.election.ports import Store
from masterjob.election.values import HistoryEntry, Inventory, Term, TransitionKind
from tests.store.conftest import Backend, claim_lock, open_session


def test_a_free_lock_goes_to_the_first_claim(store: Store) -> None:
    session_id = open_session(store)
    store.ensure_locks(["job"])
    (term,) = store.claim(session_id, ["job"])
    assert term.lock_name == "job"
    assert store.read_inventory("one") == Inventory.of([term])


def test_the_loser_of_a_claim_gets_nothing(backend: Backend, store: Store) -> None:
    winner, loser = open_session(store, "winner"), open_session(store, "loser")
    term = claim_lock(store, winner)
    assert backend.connect().claim(loser, ["job"]) == ()
    assert store.read_inventory("winner") == Inventory.of([term])


def test_a_claim_made_twice_returns_the_same_term(store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    assert store.claim(session_id, ["job"]) == (term,)


def test_a_claim_takes_what_is_free_and_returns_all_that_is_held(store: Store) -> None:
    session_id, other = open_session(store), open_session(store, "other")
    claim_lock(store, session_id, "mine")
    claim_lock(store, other, "theirs")
    store.ensure_locks(["free", "not asked for"])
    terms = store.claim(session_id, ["theirs", "mine", "free"])
    assert {term.lock_name for term in terms} == {"mine", "free"}
    assert store.list_vacancies().lock_names == ("not asked for",)


def test_a_lock_that_has_no_row_cannot_be_claimed(store: Store) -> None:
    assert store.claim(open_session(store), ["unknown"]) == ()


def test_claiming_nothing_gives_nothing(store: Store) -> None:
    assert store.claim(open_session(store), []) == ()


def test_a_disabled_lock_cannot_be_claimed_until_it_is_enabled(backend: Backend, store: Store) -> None:
    session_id = open_session(store)
    store.ensure_locks(["job"])
    backend.disable("job")
    assert store.claim(session_id, ["job"]) == ()
    assert store.list_vacancies().lock_names == ()
    backend.enable("job")
    assert store.list_vacancies().lock_names == ("job",)
    assert len(store.claim(session_id, ["job"])) == 1


def test_a_disable_takes_nothing_from_a_master(backend: Backend, store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    backend.disable("job")
    assert store.read_inventory("one").matches(Inventory.of([term]))
    assert store.claim(session_id, ["job"]) == (term,)


def test_a_lock_may_be_disabled_before_its_first_use(backend: Backend, store: Store) -> None:
    backend.disable("job")
    store.ensure_locks(["job"])
    assert store.claim(open_session(store), ["job"]) == ()


def test_an_evicted_session_gets_no_lock(store: Store) -> None:
    session_id = open_session(store)
    store.ensure_locks(["job"])
    store.evict(session_id, 1, if_stale=False)
    assert store.claim(session_id, ["job"]) == ()
    assert store.list_vacancies().lock_names == ("job",)


def test_every_term_has_a_larger_number(store: Store) -> None:
    session_id = open_session(store)
    numbers = []
    for _ in range(20):
        term = claim_lock(store, session_id)
        numbers.append(term.number)
        store.release([session_id], [term])
    assert numbers == sorted(set(numbers))


def test_a_released_lock_is_free(store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    store.release([session_id], [term])
    assert store.list_vacancies().lock_names == ("job",)
    assert store.read_inventory("one") == Inventory(0, 0)


def test_only_the_current_term_is_released(store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    store.release([session_id], [Term("job", term.number - 1)])
    store.release([session_id], [Term("job", term.number + 1)])
    store.release([open_session(store, "other")], [term])
    store.release([], [term])
    store.release([session_id], [])
    assert store.read_inventory("one") == Inventory.of([term])


def test_many_locks_of_several_sessions_are_released_at_once(store: Store) -> None:
    one, two = open_session(store), open_session(store)
    a, b, c = claim_lock(store, one, "a"), claim_lock(store, two, "b"), claim_lock(store, two, "c")
    store.release([one, two], [a, b])
    assert store.read_inventory("one") == Inventory.of([c])


def test_a_term_moves_to_another_session_and_stays_the_same(store: Store) -> None:
    old, new = open_session(store), open_session(store)
    term = claim_lock(store, old)
    assert store.move(term, old, new) == new
    assert store.move(term, old, new) == new
    assert store.claim(new, ["job"]) == (term,)
    store.close_session(old)
    assert store.read_inventory("one") == Inventory.of([term])


def test_a_term_that_another_session_holds_is_not_moved(store: Store) -> None:
    old, new, third = open_session(store), open_session(store), open_session(store, "third")
    term = claim_lock(store, third)
    assert store.move(term, old, new) == third


def test_a_term_that_is_over_is_not_moved(store: Store) -> None:
    old, new = open_session(store), open_session(store)
    term = claim_lock(store, old)
    store.release([old], [term])
    assert store.move(term, old, new) is None
    later = claim_lock(store, old)
    assert store.move(term, old, new) is None
    assert [row.session_id for row in store.list_held_terms("one")] == [old]
    assert store.move(later, old, new) == new


def test_a_term_is_not_moved_to_a_session_that_was_evicted(store: Store) -> None:
    old, new = open_session(store), open_session(store)
    term = claim_lock(store, old)
    store.evict(new, 1, if_stale=False)
    assert store.move(term, old, new) == old


def test_ensuring_an_existing_lock_does_not_change_it(store: Store) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    store.ensure_locks(["job", "job", "other"])
    store.ensure_locks([])
    assert store.read_inventory("one") == Inventory.of([term])
    assert store.list_vacancies().lock_names == ("other",)


def test_vacancies_carry_the_counts_for_a_fair_share(backend: Backend, store: Store) -> None:
    one, _, stale = (
        open_session(store, "one"),
        open_session(store, "one"),
        open_session(store, "stale", lease_ms=10_000),
    )
    open_session(store, "two")
    backend.backdate(stale, 20_000)
    claim_lock(store, one, "held")
    store.ensure_locks(["b", "a", "off"])
    backend.disable("off")
    vacancies = store.list_vacancies()
    assert sorted(vacancies.lock_names) == ["a", "b"]
    assert vacancies.enabled_count == 3
    assert vacancies.live_instances == 2
    assert vacancies.next_enable_ms is None


def test_only_the_current_term_is_requested_to_step_down(store: Store) -> None:
    session_id = open_session(store)
    first = claim_lock(store, session_id)
    store.release([session_id], [first])
    assert not store.request_step_down(first, "ann", "")
    second = claim_lock(store, session_id)
    assert not store.request_step_down(first, "ann", "")
    assert store.read_inventory("one").stop_requests == ()
    assert store.request_step_down(second, "ann", "")
    assert len(store.read_inventory("one").stop_requests) == 1
    store.release([session_id], [second])
    claim_lock(store, session_id)
    assert store.read_inventory("one").stop_requests == ()


def test_names_that_look_alike_are_different_locks(store: Store) -> None:
    names = ["Job", "job", "jöb", "job 1", "日本", "100%", "a:b", "{x}", "*", "'quoted'", "x" * 200]
    store.ensure_locks(names)
    terms = store.claim(open_session(store), names)
    assert {term.lock_name for term in terms} == set(names)


def test_thousands_of_locks_are_claimed_and_released_at_once(store: Store) -> None:
    session_id = open_session(store)
    names = [f"lock-{number}" for number in range(2_300)]
    store.ensure_locks(names)
    terms = store.claim(session_id, names)
    assert len(terms) == 2_300
    store.release([session_id], terms)
    assert len(store.list_vacancies().lock_names) == 2_300


def test_history_may_be_written_in_one_batch(store: Store) -> None:
    store.append_history(
        [
            HistoryEntry("job", 1, TransitionKind.ELECTED, "elected"),
            HistoryEntry("job", None, TransitionKind.DISABLED, "off", actor="a"),
        ]
    )
    store.append_history([])


def test_a_closed_store_opens_again_when_it_is_used(store: Store) -> None:
    session_id = open_session(store)
    store.close()
    assert store.renew(session_id, "one") == Inventory(0, 0)
