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


both = Both()
greedy = Greedy()
ready = MasterJob(lambda: calls.append("ready"))
nothing = object()
