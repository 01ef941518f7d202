"""Run a job on one of many instances at a time, elected through the database that you already have.

    from masterjob import MasterJob, start_master

    master = start_master(lock_name="JOB-SCHEDULER", master_job=MasterJob(start=start, stop=stop),
                          database="postgresql://…")

`start_master` in every copy of the application; ``start`` is called on one of them, and on another when that one
dies. `disable` and `enable` switch a lock for all of them, `status` and `history` say what is going on.

The rooms, and what may import what:
``cli | operator | main -> controller -> process -> jobs | store | kube | web -> election``.

    election/     who is master: the protocol, a pure state machine, and its threads
    store/        where it is written: SQL on three databases, and nothing of SQL elsewhere
    jobs/         what the master runs
    resource/     what is wanted: a MasterJob as its manifest declares it
    controller/   how that comes to be: first the database is told, then the election
    kube/         what the cluster sees
    web/          what people and probes see over HTTP
    cli/          what a terminal sees
    runtime/      this process's part in the elections, and its own end
    settings.py   options > environment > config file > defaults; documents.py reads files, line by line
    main.py       puts the rooms together for applications; serving.py the control API with this process;
                  operator.py the controller with the MasterJobs of a cluster
"""

from typing import Any

from masterjob.app.library import (
    api_application,
    disable,
    enable,
    history,
    start_api,
    start_master,
    status,
    step_down,
)
from masterjob.election.term import LiveTerm as Term
from masterjob.errors import (
    MasterJobError,
    SettingError,
    StoreUnavailable,
    TermLost,
    TimingError,
)
from masterjob.jobs.python.job import MasterJob
from masterjob.runtime.handle import Master

__all__ = [
    "Master",
    "MasterJob",
    "MasterJobError",
    "SettingError",
    "StoreUnavailable",
    "Term",
    "TermLost",
    "TimingError",
    "api_application",
    "disable",
    "enable",
    "history",
    "start_api",
    "start_master",
    "start_operator",
    "status",
    "step_down",
]


def __getattr__(name: str) -> Any:
    """Import what not every user needs only when it is used: kopf alone takes a second."""
    if name == "start_operator":
        from masterjob.app.operator import start_operator  # noqa: PLC0415

        return start_operator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
