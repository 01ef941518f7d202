"""The output of a command: split into lines, bounded, and read without delaying the command."""

import logging
import os
import threading
from io import FileIO

import pytest

from masterjob.jobs.exec import output as output_module
from masterjob.jobs.exec.output import LINE_LIMIT, LINES_PER_WINDOW, CommandOutput, OutputLevels
from tests.jobs.process_checks import LogCapture
from tests.timeouts import WAIT_TIMEOUT


class CommandPipes:
    """The two outputs of a command, written by the test."""

    def __init__(self) -> None:
        (out, self.stdout), (error, self.stderr) = os.pipe(), os.pipe()
        self.output = CommandOutput("lock", (os.fdopen(out, "rb", 0), os.fdopen(error, "rb", 0)))

    def close(self) -> None:
        os.close(self.stdout)
        os.close(self.stderr)


def read_output(stdout_data: bytes, stderr_data: bytes = b"") -> CommandOutput:
    pipes = CommandPipes()
    with FileIO(pipes.stdout, "w") as stdout, FileIO(pipes.stderr, "w") as stderr:
        stdout.write(stdout_data)
        stderr.write(stderr_data)
    pipes.output.run()
    return pipes.output


def test_lines_are_logged_as_they_come(log: LogCapture) -> None:
    pipes = CommandPipes()
    reader = threading.Thread(target=pipes.output.run)
    reader.start()
    os.write(pipes.stdout, b"one\nt")
    log.wait_for("INFO", "lock: one")
    os.write(pipes.stdout, b"wo\r\n")
    log.wait_for("INFO", "lock: two")
    pipes.close()
    reader.join(WAIT_TIMEOUT)
    assert pipes.output.drained.is_set()


def test_each_output_has_its_level_and_every_line_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "masterjob")
    (out, stdout), (error, stderr) = os.pipe(), os.pipe()
    outputs = (os.fdopen(out, "rb", 0), os.fdopen(error, "rb", 0))
    os.write(stdout, b"one\n")
    os.close(stdout)
    os.write(stderr, b"two\n")
    os.close(stderr)
    CommandOutput("lock", outputs, OutputLevels(stdout=logging.DEBUG, stderr=logging.ERROR), 7).run()
    found = {record.getMessage(): (record.levelname, vars(record)["stream"]) for record in caplog.records}
    assert found == {"lock: one": ("DEBUG", "stdout"), "lock: two": ("ERROR", "stderr")}
    assert {(vars(record)["lock"], vars(record)["term"]) for record in caplog.records} == {("lock", 7)}


def test_bytes_that_are_not_text_are_escaped(log: LogCapture) -> None:
    read_output(b"a\xff\x1b[31m\tb\x00\n")
    assert log.lines == [("INFO", "lock: a\ufffd\\x1b[31m\tb\\x00")]


def test_a_line_without_an_end_is_cut_into_pieces(log: LogCapture) -> None:
    read_output(b"x" * (LINE_LIMIT + 5))
    assert [len(line) for _, line in log.lines] == [LINE_LIMIT + 6, 11]


def test_the_last_error_line_is_kept(log: LogCapture) -> None:
    assert read_output(b"out\n", b"first\nlast\n\n").last_error_line == "last"
    assert read_output(b"out\n").last_error_line == ""


def test_a_flood_is_read_to_its_end_and_counted(log: LogCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "RATE_WINDOW", 3600.0)
    pipes, lines, bulk = CommandPipes(), 1_000_000, 10_000
    reader = threading.Thread(target=pipes.output.run)
    reader.start()
    with FileIO(pipes.stdout, "w") as stdout:
        for _ in range(lines // bulk):
            rest = memoryview(b"y\n" * bulk)
            while rest:
                rest = rest[stdout.write(rest) or 0 :]
    os.write(pipes.stderr, b"why\n")
    os.close(pipes.stderr)
    reader.join(WAIT_TIMEOUT)
    assert not reader.is_alive()
    assert log.lines.count(("INFO", "lock: y")) + log.lines.count(("INFO", "lock: why")) == LINES_PER_WINDOW
    assert log.lines[-1] == (
        "WARNING",
        f"lock: {lines + 1 - LINES_PER_WINDOW} lines of the command's output were dropped",
    )
    assert pipes.output.last_error_line == "why"


def test_in_the_next_window_lines_are_logged_again(log: LogCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "LINES_PER_WINDOW", 1)
    now = [100.0]
    monkeypatch.setattr(output_module, "clock", lambda: now[0])
    pipes = CommandPipes()
    pipes.output.log_lines("stdout", [b"one", b"two", b"three"])
    now[0] += 5.0
    pipes.output.log_lines("stdout", [b"four"])
    pipes.close()
    pipes.output.run()
    assert [line for _, line in log.lines] == [
        "lock: one",
        "lock: 2 lines of the command's output were dropped",
        "lock: four",
    ]


def test_a_pipe_that_is_held_open_is_given_up_after_the_end(
    log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "DRAIN_TIMEOUT", 0.01)
    pipes = CommandPipes()
    os.write(pipes.stdout, b"last\n")
    pipes.output.finish()
    pipes.output.run()
    assert log.lines == [("INFO", "lock: last")]
    with pytest.raises(BrokenPipeError):
        os.write(pipes.stdout, b"unread\n")
    pipes.close()
