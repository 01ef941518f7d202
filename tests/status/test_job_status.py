"""Errors and outputs of jobs are bounded, and show control characters."""

from masterjob.job_status import MAX_OUTPUT_CHARACTERS, MAX_OUTPUT_LINES, bound_output, to_one_line


def test_an_error_becomes_one_line_without_control_characters() -> None:
    assert to_one_line("first\n  second\x1b[2J\u2028") == "first second\\x1b[2J"
    assert to_one_line("a\x07b") == "a\\x07b"


def test_a_long_error_is_cut() -> None:
    assert to_one_line("x" * 20, limit=10) == "x" * 9 + "…"


def test_of_a_long_output_the_last_lines_stay() -> None:
    assert bound_output(str(number) for number in range(200)) == tuple(
        str(number) for number in range(200 - MAX_OUTPUT_LINES, 200)
    )


def test_an_output_of_long_lines_is_bounded_in_characters() -> None:
    kept = bound_output(f"{number}" + "x" * 3_000 for number in range(20))
    assert sum(len(line) + 1 for line in kept) <= MAX_OUTPUT_CHARACTERS
    assert kept[-1].startswith("19")


def test_an_output_shows_control_characters_and_keeps_tabs() -> None:
    assert bound_output(["a\tb\x1b[2J\x00"]) == ("a\tb\\x1b[2J\\x00",)
