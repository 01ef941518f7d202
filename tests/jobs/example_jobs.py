"""The objects that entries in the tests name."""

from masterjob.jobs.python.job import MasterJob

calls: list[str] = []


class Both:
    def start(self) -> None:
        calls.append("start")

    def stop(self) -> None:
        calls.append("stop")


class Greedy:
    def start(self, one: object, two: object) -> None: ...


class Thread:
    """A job with `start`, whose `run` belongs to itself."""

    def start(self) -> None:
        calls.append("start")

    def run(self) -> None:
        raise AssertionError("this is not for the master")


class Runner:
    def run(self) -> None:
        calls.append("run")


both = Both()
thread = Thread()
runner = Runner()
greedy = Greedy()
ready = MasterJob(lambda: calls.append("ready"))
always = MasterJob(run=lambda: calls.append("always"), restart="always", start_seconds=60)
nothing = object()
