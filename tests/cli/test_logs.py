"""The log: a line is one line, whatever is in it."""

import logging

from masterjob.cli.staying.logs import TextLines


def line(message: str) -> str:
    return TextLines().format(
        logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "levelname": "INFO"})
    )


def test_what_people_say_can_neither_forge_a_line_nor_colour_a_terminal() -> None:
    said = line("disabled: x\n2026-01-01T00:00:00Z all is well \x1b[31m\r\x07")
    first, second = said.split("\n")
    assert first.endswith("disabled: x")
    assert second.startswith("  2026")
    assert "\x1b" not in said
    assert "\\x1b[31m\\r\\x07" in said


def test_other_scripts_stay_as_they_are() -> None:
    assert line("Müller 林").endswith("Müller 林")
