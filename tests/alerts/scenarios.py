"""What happens to two controllers, and which alerts have to fire, and no others. Times are seconds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.alerts.controllers import Controllers

_LASTING = "{exec: {command: [sleep, '100000'], startSeconds: 1}}"

Fault = Callable[[Controllers], None]


@dataclass(frozen=True)
class Scenario:
    """Faults at their times, and the number of alerts of each name that fire at some times."""

    name: str
    duration: int
    expected: Mapping[int, Mapping[str, int]]
    faults: Mapping[int, Fault] = field(default_factory=dict)
    job: str = _LASTING


SCENARIOS = (
    Scenario(
        "no instance reaches the database for three minutes, then all do",
        345,
        {
            45: {},
            165: {"MasterJobDatabaseUnreachable": 1},
            225: {"MasterJobDatabaseUnreachable": 1, "MasterJobVacant": 1},
            330: {},
        },
        {60: Controllers.cut_all, 240: Controllers.restore_all},
    ),
    Scenario(
        "the master alone loses the database, and the other instance takes over",
        270,
        {45: {}, 255: {}},
        {60: Controllers.cut_master},
    ),
    Scenario(
        "no instance reaches the database, but the lock was disabled before",
        270,
        {45: {}, 255: {"MasterJobDatabaseUnreachable": 1}},
        {30: Controllers.disable, 60: Controllers.cut_all},
    ),
    Scenario(
        "the master is killed, and the other instance takes over", 240, {225: {}}, {60: Controllers.kill_master}
    ),
    Scenario(
        "a command that fails",
        195,
        {180: {"MasterJobStartFails": 1, "MasterJobVacant": 1, "MasterJobFlaps": 1}},
        job="{exec: {command: [sh, -c, 'exit 7']}}",
    ),
    Scenario(
        "a command that completes, though its lock stays enabled",
        120,
        {105: {"MasterJobCompleted": 1}},
        job="{exec: {command: ['true'], restart: onFailure}}",
    ),
    Scenario(
        "a master that is asked to step down again and again",
        210,
        {195: {"MasterJobFlaps": 1}},
        dict.fromkeys(range(30, 165, 15), Controllers.step_down),
    ),
    Scenario(
        "a command that ends again and again",
        120,
        {105: {"MasterJobFlaps": 1}},
        job="{exec: {command: [sleep, '3'], startSeconds: 1}}",
    ),
)
