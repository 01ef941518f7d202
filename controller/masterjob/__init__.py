"""Run a job on one of many instances at a time, elected through the SQL database you already have.

    from masterjob import MasterJob, start_master

    master = start_master(
        lock_name="JOB-SCHEDULER",
        master_job=MasterJob(start=start, stop=stop),
        database="postgresql://...",
    )

Call `start_master` in every copy of the application. ``start`` is called on one of them, the master; if that one
ends or fails, on another. `disable` and `enable` switch the lock for all copies; `status`, `history` and
`report` show its state, its past and its availability. `start_operator` runs the Kubernetes operator in this
process, `start_api` the control API.

The packages, from top to bottom; each may import only what is below it:

    cli/            the command line
    app/            composition roots: the library, the operator, the control API
    controller/     reconciles the database and this process's part in the elections with the resources
    runtime/        this process: its instances, the handles to their locks, and its shutdown
    store/          the database: SQL on PostgreSQL, MariaDB, MySQL and SQLite
    jobs/           what the master runs: commands, HTTP hooks, Python functions
    kube/           the cluster: reads its MasterJobs, writes their statuses and Events
    web/            the control API, probes and metrics
    resource/       a MasterJob, as a manifest declares it
    config/         settings, and the files they are read from
    availability/   when a job ran, and why it did not, by the history
    lock_status.py  a lock as people see it, and its history
    election/       the protocol: a pure state machine, and the threads around it
    concurrency/    time and threads
    errors.py       the exceptions
"""

from typing import Any

from masterjob.app.admin import disable, enable, history, report, status, step_down
from masterjob.app.library import api_application, start_api, start_master
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
    "report",
    "start_api",
    "start_master",
    "start_operator",
    "status",
    "step_down",
]


def __getattr__(name: str) -> Any:
    """Import `start_operator` when it is first used: kopf takes a second to import."""
    if name == "start_operator":
        from masterjob.app.operator import start_operator  # noqa: PLC0415

        return start_operator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
