"""All planted bugs, in the order of the rules that they break."""

from itertools import chain

from tests.simulation.mutants import (
    candidate,
    connections,
    evictor,
    inventory,
    master,
    process,
    quarantine,
    retiming,
    retries,
    session,
    sql,
    store,
    switch,
    trust,
)
from tests.simulation.mutants.planting import Mutant
from tests.simulation.mutants.rules import RULES

_MODULES = (
    trust,
    session,
    master,
    inventory,
    candidate,
    evictor,
    retiming,
    quarantine,
    switch,
    store,
    sql,
    connections,
    process,
    retries,
)

MUTANTS: tuple[Mutant, ...] = tuple(
    sorted(chain.from_iterable(module.MUTANTS for module in _MODULES), key=lambda mutant: RULES.index(mutant.rule))
)

MUTANT_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}

_SAMPLE_SENTENCES = (
    "the margin counts at most a fifth of a second of the stop timeout",
    "a lock is released before its stop has returned",
    "a look at the sessions counts from its sending",
    "a new term is the last one plus one",
    "a disable is not shown to the master",
    "the inventory is never found to differ",
    "the quarantine ends after half of the longest lease",
)

SAMPLE: tuple[Mutant, ...] = tuple(mutant for mutant in MUTANTS if mutant.sentence in _SAMPLE_SENTENCES)
"""Bugs that break different rules and invariants. The normal tests show that the simulator finds each of them."""
