"""The simulator finds planted bugs: a sample of them here, all of them with ``make mutants``."""

import contextlib
import inspect
import itertools

import pytest

from masterjob.election.core.session import Session
from tests.simulation.mutants import MUTANTS, SAMPLE
from tests.simulation.mutate import simulate_with, violation
from tests.simulation.planting import Edit, ExecutedOften, Mutant, executions
from tests.simulation.world import Weather

MAX_SECONDS = 120.0
"""How long the simulator may look for a bug of the sample; it takes about a second."""


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
@pytest.mark.timeout(2 * MAX_SECONDS)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    finding = simulate_with(mutant, MAX_SECONDS, processes=2)
    assert finding.text, f"not found in {finding.seeds} seeds"
    assert not finding.text.startswith("crash"), finding.text


RARELY_REACHED = ("a move without an answer counts as done",)
"""Mutants whose code the simulated world reaches too rarely for a quick test."""


@pytest.mark.parametrize(
    "mutant",
    [each for each in MUTANTS if each.is_simulated and each.sentence not in RARELY_REACHED],
    ids=lambda mutant: mutant.name,
)
def test_the_code_of_a_planted_bug_is_executed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times, so two executions came to their end: code that raises an error would prove nothing."""
    monkeypatch.setattr(executions, "limit", executions[mutant.name] + 2)
    with mutant.planted(), contextlib.suppress(ExecutedOften):
        for seed, weather in itertools.product(range(15), Weather):
            text = violation(seed, weather)
            assert not text.startswith("crash: TypeError")
        pytest.fail("not in 15 seeds")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_can_be_removed_again(mutant: Mutant) -> None:
    def methods() -> list[object]:
        return [inspect.getattr_static(edit.owner, edit.method) for edit in mutant.edits]

    before = methods()
    with mutant.planted():
        assert all(now is not then for now, then in zip(methods(), before, strict=True))
    assert methods() == before


def test_a_mutant_that_no_longer_fits_the_code_says_so() -> None:
    outdated = Mutant("outdated", "none", Edit(Session, "can_claim", "what was here once", "a bug"))
    with pytest.raises(ValueError, match="0 times instead of once"), outdated.planted():
        pass
