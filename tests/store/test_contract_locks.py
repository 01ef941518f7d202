"""Locks: claiming, moving, releasing, vacancies. The same on every store."""

from masterjob.election.ports import Store
from masterjob.election.values import Entry, Inventory, Kind, Term
from tests.store.conftest import Backend, elected, opened


def test_a_free_lock_goes_to_the_first_who_claims_it(store: Store) -> None:
    me = opened(store)
    store.ensure(["job"])
    (term,) = store.claim(me, ["job"])
    assert term.lock_name == "job"
    assert store.inventory("one") == Inventory.of([term])


def test_the_loser_of_a_claim_gets_nothing(backend: Backend, store: Store) -> None:
    winner, loser = opened(store, "winner"), opened(store, "loser")
    term = elected(store, winner)
    assert backend.connect().claim(loser, ["job"]) == ()
    assert store.inventory("winner") == Inventory.of([term])


def test_a_claim_made_twice_tells_the_same_term(store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    assert store.claim(me, ["job"]) == (term,)


def test_a_claim_takes_what_is_free_and_tells_all_that_is_held(store: Store) -> None:
    me, other = opened(store), opened(store, "other")
    elected(store, me, "mine")
    elected(store, other, "theirs")
    store.ensure(["free", "not asked for"])
    terms = store.claim(me, ["theirs", "mine", "free"])
    assert {term.lock_name for term in terms} == {"mine", "free"}
    assert store.vacancies().names == ("not asked for",)


def test_a_lock_that_has_no_row_cannot_be_claimed(store: Store) -> None:
    assert store.claim(opened(store), ["unknown"]) == ()


def test_claiming_nothing_gives_nothing(store: Store) -> None:
    assert store.claim(opened(store), []) == ()


def test_a_disabled_lock_cannot_be_claimed_until_it_is_enabled(backend: Backend, store: Store) -> None:
    me = opened(store)
    store.ensure(["job"])
    backend.disable("job")
    assert store.claim(me, ["job"]) == ()
    assert store.vacancies().names == ()
    backend.enable("job")
    assert store.vacancies().names == ("job",)
    assert len(store.claim(me, ["job"])) == 1


def test_a_disable_takes_nothing_from_a_master(backend: Backend, store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    backend.disable("job")
    assert store.inventory("one").agrees(Inventory.of([term]))
    assert store.claim(me, ["job"]) == (term,)


def test_a_lock_may_be_disabled_before_anybody_uses_it(backend: Backend, store: Store) -> None:
    backend.disable("job")
    store.ensure(["job"])
    assert store.claim(opened(store), ["job"]) == ()


def test_an_evicted_session_gets_no_lock(store: Store) -> None:
    me = opened(store)
    store.ensure(["job"])
    store.evict(me, 1, if_stale=False)
    assert store.claim(me, ["job"]) == ()
    assert store.vacancies().names == ("job",)


def test_every_term_has_a_larger_number(store: Store) -> None:
    me = opened(store)
    numbers = []
    for _ in range(20):
        term = elected(store, me)
        numbers.append(term.number)
        store.release([me], [term])
    assert numbers == sorted(set(numbers))


def test_a_released_lock_is_free(store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    store.release([me], [term])
    assert store.vacancies().names == ("job",)
    assert store.inventory("one") == Inventory(0, 0)


def test_only_the_very_term_is_released(store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    store.release([me], [Term("job", term.number - 1)])
    store.release([me], [Term("job", term.number + 1)])
    store.release([opened(store, "other")], [term])
    store.release([], [term])
    store.release([me], [])
    assert store.inventory("one") == Inventory.of([term])


def test_many_are_released_at_once_whichever_session_has_them(store: Store) -> None:
    one, two = opened(store), opened(store)
    a, b, c = elected(store, one, "a"), elected(store, two, "b"), elected(store, two, "c")
    store.release([one, two], [a, b])
    assert store.inventory("one") == Inventory.of([c])


def test_a_term_moves_to_another_session_and_stays_the_same(store: Store) -> None:
    old, new = opened(store), opened(store)
    term = elected(store, old)
    assert store.move(term, old, new) == new
    assert store.move(term, old, new) == new
    assert store.claim(new, ["job"]) == (term,)
    store.leave(old)
    assert store.inventory("one") == Inventory.of([term])


def test_a_term_that_another_session_holds_is_not_moved(store: Store) -> None:
    old, new, third = opened(store), opened(store), opened(store, "third")
    term = elected(store, third)
    assert store.move(term, old, new) == third


def test_a_term_that_is_over_is_not_moved(store: Store) -> None:
    old, new = opened(store), opened(store)
    term = elected(store, old)
    store.release([old], [term])
    assert store.move(term, old, new) is None
    later = elected(store, old)
    assert store.move(term, old, new) is None
    assert store.move(later, old, new) == new


def test_a_term_stays_where_it_is_when_the_other_session_was_evicted(store: Store) -> None:
    old, new = opened(store), opened(store)
    term = elected(store, old)
    store.evict(new, 1, if_stale=False)
    assert store.move(term, old, new) == old


def test_a_lock_that_is_there_already_is_left_alone(store: Store) -> None:
    me = opened(store)
    term = elected(store, me)
    store.ensure(["job", "job", "other"])
    store.ensure([])
    assert store.inventory("one") == Inventory.of([term])
    assert store.vacancies().names == ("other",)


def test_vacancies_tell_what_a_fair_share_is_reckoned_from(backend: Backend, store: Store) -> None:
    one, _, stale = opened(store, "one"), opened(store, "one"), opened(store, "stale", lease_ms=10_000)
    opened(store, "two")
    backend.backdate(stale, 20_000)
    elected(store, one, "held")
    store.ensure(["b", "a", "off"])
    backend.disable("off")
    vacancies = store.vacancies()
    assert sorted(vacancies.names) == ["a", "b"]
    assert vacancies.enabled == 3
    assert vacancies.instances == 2
    assert vacancies.due_ms is None


def test_only_the_very_term_is_asked_to_step_down(store: Store) -> None:
    me = opened(store)
    first = elected(store, me)
    store.release([me], [first])
    assert not store.ask_step_down(first, "ann", "")
    second = elected(store, me)
    assert not store.ask_step_down(first, "ann", "")
    assert store.inventory("one").flagged == ()
    assert store.ask_step_down(second, "ann", "")
    assert len(store.inventory("one").flagged) == 1
    store.release([me], [second])
    elected(store, me)
    assert store.inventory("one").flagged == ()


def test_names_that_look_alike_are_different_locks(store: Store) -> None:
    names = ["Job", "job", "jöb", "job 1", "日本", "100%", "a:b", "{x}", "*", "'quoted'", "x" * 200]
    store.ensure(names)
    terms = store.claim(opened(store), names)
    assert {term.lock_name for term in terms} == set(names)


def test_thousands_of_locks_are_claimed_and_released_at_once(store: Store) -> None:
    me = opened(store)
    names = [f"lock-{number}" for number in range(2_300)]
    store.ensure(names)
    terms = store.claim(me, names)
    assert len(terms) == 2_300
    store.release([me], terms)
    assert len(store.vacancies().names) == 2_300


def test_history_may_be_written_in_one_batch(store: Store) -> None:
    store.record([Entry("job", 1, Kind.ELECTED, "elected"), Entry("job", None, Kind.DISABLED, "off", actor="a")])
    store.record([])


def test_a_closed_store_opens_again_when_it_is_used(store: Store) -> None:
    me = opened(store)
    store.close()
    assert store.renew(me, "one") == Inventory(0, 0)
