"""Commands as jobs, for tests."""

from dataclasses import replace

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.spec import ExecSpec
from masterjob.jobs.policy import Restart, RunPolicy
from tests.jobs.fixtures import RecordingReport, live_term
from tests.timeouts import WAIT_TIMEOUT

POOL = ThreadPool("test-commands")

PATIENT = RunPolicy(start_seconds=3600.0)
"""No command in these tests lives so long, however busy the machine is."""

ON_FAILURE = replace(PATIENT, restart=Restart.ON_FAILURE)


def start_job(
    *argv: str,
    stop_timeout: float = WAIT_TIMEOUT,
    directory: str | None = None,
    policy: RunPolicy = PATIENT,
) -> tuple[Job, RecordingReport]:
    job = ExecSpec(ExecCommand(argv, {}, directory), policy).create_job(POOL, stop_timeout)
    report = RecordingReport()
    job.start(live_term(), report)
    return job, report
