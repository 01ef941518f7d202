"""The log: a message is one line, whatever it contains."""

import logging

from masterjob.cli.log import TextFormatter


def format_line(message: str) -> str:
    return TextFormatter().format(
        logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "levelname": "INFO"})
    )


def test_a_reason_can_neither_forge_a_line_nor_colour_the_terminal() -> None:
    output = format_line("disabled: x\n2026-01-01T00:00:00Z all is well \x1b[31m\r\x07")
    first, second = output.split("\n")
    assert first.endswith("disabled: x")
    assert second.startswith("  2026")
    assert "\x1b" not in output
    assert "\\x1b[31m\\r\\x07" in output


def test_other_scripts_stay_as_they_are() -> None:
    assert format_line("Müller 林").endswith("Müller 林")
