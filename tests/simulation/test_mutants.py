"""The simulator finds planted bugs: a sample of them here, all of them with ``make mutants``."""

import contextlib
import itertools

import pytest

from masterjob.election.core.session import Session
from tests.simulation.mutants.catalog import MUTANTS, SAMPLE
from tests.simulation.mutants.planting import Edit, ExecutedOften, Mutant, executions
from tests.simulation.mutants.rules import RULES, SENDING
from tests.simulation.mutants.search import simulate_with, violation
from tests.simulation.world import Weather

MAX_SECONDS = 120.0
"""How long the simulator may look for a bug of the sample; it takes about a second."""

MAX_SEEDS = 600
"""In how many seeds the code of a planted bug must be executed. Most need one; moves are rare."""


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
@pytest.mark.timeout(5 * MAX_SECONDS)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    finding = simulate_with(mutant, MAX_SECONDS, processes=2)
    assert finding.text, f"not found in {finding.seeds} seeds"
    assert not finding.text.startswith("crash"), finding.text


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.is_simulated], ids=lambda mutant: mutant.name)
def test_the_code_of_a_planted_bug_is_executed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times, so two executions came to their end: code that raises an error would prove nothing."""
    monkeypatch.setattr(executions, "limit", executions[mutant.name] + 2)
    with mutant.planted(), contextlib.suppress(ExecutedOften):
        for seed, weather in itertools.product(range(MAX_SEEDS), Weather):
            text = violation(seed, weather)
            assert not text.startswith("crash: TypeError")
        pytest.fail(f"not in {MAX_SEEDS} seeds")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)
def test_every_rule_has_a_planted_bug(rule: object) -> None:
    assert any(mutant.rule is rule for mutant in MUTANTS)


def test_the_planted_bugs_have_different_names() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_can_be_removed_again(mutant: Mutant) -> None:
    before = [edit.code for edit in mutant.edits]
    with mutant.planted():
        assert all(edit.code != code for edit, code in zip(mutant.edits, before, strict=True))
    assert [edit.code for edit in mutant.edits] == before


def test_a_mutant_that_no_longer_fits_the_code_says_so() -> None:
    outdated = Mutant("outdated", SENDING, Edit(Session, "can_claim", "what was here once", "a bug"))
    with pytest.raises(ValueError, match="0 times instead of once"), outdated.planted():
        pass
