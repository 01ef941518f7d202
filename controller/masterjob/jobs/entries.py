"""The jobs that installed packages offer, as entry points."""

from importlib.metadata import entry_points

from masterjob.errors import SettingError
from masterjob.jobs.python.spec import PythonSpec

ENTRY_POINT_GROUP = "masterjob.jobs"
"""The group of entry points that packages offer jobs in."""


def discover_entry_points() -> dict[str, PythonSpec]:
    """Return the jobs that installed packages offer, by name; nothing of them is imported yet.

    Raises:
        SettingError: two packages offer different jobs of one name.
    """
    specs: dict[str, PythonSpec] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        spec = PythonSpec(entry_point.value, f"entry point {entry_point.name} of the group {ENTRY_POINT_GROUP}")
        if specs.setdefault(entry_point.name, spec) != spec:
            raise SettingError(
                f"{spec.location} is {entry_point.value} and {specs[entry_point.name].entry}: it can be only one"
            )
    return specs
