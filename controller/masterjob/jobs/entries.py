"""The jobs that installed packages offer, as entry points."""

from importlib.metadata import entry_points

from masterjob.election.errors import SettingError
from masterjob.jobs.python.spec import PythonSpec

GROUP = "masterjob.jobs"
"""The group of entry points that packages offer jobs in."""


def discovered() -> dict[str, PythonSpec]:
    """Return the jobs that installed packages offer, by name; nothing of them is imported yet.

    Raises:
        SettingError: two packages offer different jobs of one name.
    """
    found: dict[str, PythonSpec] = {}
    for point in entry_points(group=GROUP):
        spec = PythonSpec(point.value, f"entry point {point.name} of the group {GROUP}")
        if found.setdefault(point.name, spec) != spec:
            raise SettingError(f"{spec.where} is {point.value} and {found[point.name].entry}: it can be only one")
    return found
