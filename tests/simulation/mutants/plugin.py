"""A plug-in of pytest that plants the bug named by ``MASTERJOB_MUTANT`` before any test module is imported.

MASTERJOB_MUTANT=there_is_no_margin python -m pytest -p tests.simulation.mutants.plugin tests/election
"""

import os
from contextlib import ExitStack

VARIABLE = "MASTERJOB_MUTANT"

_planted = ExitStack()


def pytest_configure() -> None:
    if name := os.environ.get(VARIABLE):
        from tests.simulation.mutants.catalog import MUTANT_BY_NAME  # noqa: PLC0415 - after pytest's own imports

        _planted.enter_context(MUTANT_BY_NAME[name].planted())


def pytest_unconfigure() -> None:
    _planted.close()
