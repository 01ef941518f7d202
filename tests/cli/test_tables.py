"""Tables for people: aligned, without trailing blanks, and readable on a narrow terminal."""

import re

import pytest

from masterjob.cli.render import print_table

COLUMNS = ("Lock", "State", "Master", "Why")
WHY = "failed on pod-1: the command ended with exit code 7; its last line of output: connection refused"
ROWS = [("A", "Running", "pod-1", ""), ("A-LONG-NAME", "StartFailed", "", WHY)]


@pytest.fixture
def terminal_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # the output counts as a terminal
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def without_colours(text: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


def test_in_a_pipe_each_row_is_one_line_without_colours_or_trailing_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(COLUMNS, ROWS, last_below=True)
    assert printed(capsys).splitlines() == [
        "Lock         State        Master  Why",
        "A            Running      pod-1",
        f"A-LONG-NAME  StartFailed          {WHY}",
    ]


@pytest.mark.usefixtures("terminal_80")
def test_on_a_narrow_terminal_the_last_cell_is_below_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS, last_below=True)
    text = printed(capsys)
    assert without_colours(text) == [
        "Lock         State        Master",
        "A            Running      pod-1",
        "A-LONG-NAME  StartFailed",
        "    failed on pod-1: the command ended with exit code 7; its last line of",
        "    output: connection refused",
    ]
    assert re.search(r"\x1b\[32mRunning", text)  # green
    assert re.search(r"\x1b\[31mStartFailed", text)  # red


@pytest.mark.usefixtures("terminal_80")
def test_on_a_terminal_that_is_wide_enough_it_stays_in_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [("A", "Vacant", "", "no instance is alive")], last_below=True)
    assert without_colours(printed(capsys))[1] == "A     Vacant          no instance is alive"
