"""The log: a message is one line, whatever it contains."""

import json
import logging

from masterjob.cli.log import JsonFormatter, TextFormatter
from masterjob.log_fields import log_fields


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


def make_record(message: str, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "levelname": "INFO", **fields})


def test_fields_follow_the_message_if_they_are_asked_for() -> None:
    fields = log_fields(lock="MY REPORT", term=7, event="command ended", exit_code=3, reason=None)
    record = make_record("it has ended", **fields)
    assert (
        TextFormatter(shows_fields=True)
        .format(record)
        .endswith(' it has ended lock="MY REPORT" term=7 event="command ended" exit_code=3')
    )
    assert TextFormatter().format(record).endswith(" it has ended")


def test_a_reason_that_the_message_contains_is_not_repeated() -> None:
    record = make_record("A: stopping the job: closed", **log_fields(lock="A", reason="closed"))
    assert TextFormatter(shows_fields=True).format(record).endswith(" A: stopping the job: closed lock=A")


def test_a_value_cannot_forge_a_line_or_a_field() -> None:
    line = TextFormatter(shows_fields=True).format(make_record("x", **log_fields(lock='a" term=9\n\x1b[31m')))
    assert line.endswith(' x lock="a\\" term=9\\n\\u001b[31m"')
    assert "\n" not in line


def test_fields_come_before_the_traceback() -> None:
    error = ValueError("a defect")
    record = make_record("failed", exc_info=(ValueError, error, None), **log_fields(lock="A"))
    first, *rest = TextFormatter(shows_fields=True).format(record).splitlines()
    assert first.endswith(" failed lock=A")
    assert rest[-1].endswith("ValueError: a defect")


def test_json_has_the_fields_as_keys() -> None:
    entry = json.loads(JsonFormatter().format(make_record("x", **log_fields(lock="A", term=7))))
    assert {name: entry[name] for name in ("message", "lock", "term")} == {"message": "x", "lock": "A", "term": 7}
    assert "reason" not in entry
