"""A job whose start raises."""

from masterjob import MasterJob

TRACEBACK_LINE = "RuntimeError: the disk is full"
"""The last line of its traceback in the log."""


def start() -> None:
    raise RuntimeError("the disk is full")


job = MasterJob(start)
