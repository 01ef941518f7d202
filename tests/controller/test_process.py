"""The end of a process, and who an instance is."""

from masterjob.process.identity import identity
from masterjob.process.process import Process


class Attendant:
    def __init__(self, *, fails: bool) -> None:
        self.fails, self.told = fails, list[str]()

    def before_the_end(self) -> None:
        self.told.append("before")
        if self.fails:
            raise RuntimeError("broken")

    def after_the_end(self) -> None:
        self.told.append("after")


def test_an_attendant_that_fails_keeps_nothing_from_its_end() -> None:
    process = Process()
    failing, other = Attendant(fails=True), Attendant(fails=False)
    process.attend(failing)
    process.attend(other)
    assert process.close_all("the test is over")
    assert failing.told == other.told == ["before", "after"]


def test_attendants_are_told_of_one_end_only() -> None:
    process, attendant = Process(), Attendant(fails=False)
    process.attend(attendant)
    process.close_all("first")
    process.close_all("second")
    assert attendant.told == ["before", "after"]


def test_an_instance_in_a_pod_is_named_by_it_and_says_where_it_is() -> None:
    found = identity(
        {"POD_NAME": "web-1", "POD_IP": "10.0.0.1", "POD_UID": "u", "NODE_NAME": "n", "CONTAINER_NAME": "c"}
    )
    assert found.instance.startswith("web-1-")
    assert (found.pod, found.address, found.pod_uid, found.node, found.container) == (
        "web-1",
        "10.0.0.1",
        "u",
        "n",
        "c",
    )


def test_the_longest_name_of_a_pod_fits() -> None:
    assert len(identity({"POD_NAME": "x" * 253}).instance) <= 255
