"""A plug-in of pytest that plants the bug named by ``MASTERJOB_MUTANT`` before any test module is imported.

MASTERJOB_MUTANT=there_is_no_margin python -m pytest -p tests.simulation.mutant_plugin tests/election
"""

import os
from contextlib import ExitStack

import pytest

from tests.simulation.mutants import MUTANT_BY_NAME
from tests.simulation.planting import executions

VARIABLE = "MASTERJOB_MUTANT"
EXECUTED = "executions of the planted bug"

_planted = ExitStack()


def pytest_configure() -> None:
    if name := os.environ.get(VARIABLE):
        _planted.enter_context(MUTANT_BY_NAME[name].planted())


def pytest_unconfigure() -> None:
    _planted.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if name := os.environ.get(VARIABLE):
        terminalreporter.write_line(f"{EXECUTED}: {executions[name]}")
