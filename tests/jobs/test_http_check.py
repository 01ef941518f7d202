"""The check of an HTTP service: what its answers mean, and that it never holds anything up."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job
from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.job_status import RunPhase
from masterjob.jobs.http import run as run_module
from masterjob.jobs.http.call import Hooks
from masterjob.jobs.http.check import Check, CheckResults, FollowUp
from masterjob.jobs.http.request import HookFailed
from masterjob.jobs.http.spec import HttpSpec
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term, refuse_guard
from tests.jobs.service import Answer, FakeService
from tests.jobs.test_registry import parse_error, parse_one
from tests.timeouts import WAIT_TIMEOUT

POOL = ThreadPool("test-check")

OK: Answer = (204, b"", {})
GONE: Answer = (404, b"", {})
BROKEN: Answer = (500, b"no disk", {})

RUNS = None
STOPPED = HookFailed("answered 404", retryable=False, status=404)
SILENT = HookFailed("no answer", retryable=False)


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.close()


def start_job(
    service: FakeService,
    failures: int = 3,
    timeout: float = WAIT_TIMEOUT,
    term: LiveTerm | None = None,
    pool: ThreadPool = POOL,
) -> tuple[Job, RecordingReport]:
    check = Check(service.url("/running?key=s3cret"), 0.01, timeout, failures)
    hooks = Hooks(service.url("/start"), service.url("/stop"), {"X-Team": lambda: "blue"}, WAIT_TIMEOUT, 0, check)
    job, report = HttpSpec(hooks).create_job(pool, WAIT_TIMEOUT), RecordingReport()
    job.start(term or live_term(), report)
    return job, report


def stop_job(job: Job, report: RecordingReport) -> None:
    job.stop()
    report.wait_for("stopped")


C, W, A, F = FollowUp.CONFIRM, FollowUp.WAIT, FollowUp.START_AGAIN, FollowUp.FAIL


@pytest.mark.parametrize(
    ("limit", "results", "follow_ups"),
    [
        (3, [RUNS, RUNS], [C, C]),
        (3, [RUNS, SILENT, SILENT, SILENT], [C, W, W, F]),
        (3, [RUNS, SILENT, SILENT, RUNS, SILENT, SILENT, SILENT], [C, W, W, C, W, W, F]),
        (3, [RUNS, STOPPED, RUNS, STOPPED, RUNS], [C, A, C, A, C]),
        (3, [RUNS, SILENT, STOPPED, RUNS], [C, W, A, C]),
        (4, [RUNS, STOPPED, STOPPED, STOPPED, STOPPED], [C, A, W, A, F]),
        (3, [STOPPED, RUNS], [W, C]),
        (1, [RUNS, STOPPED], [C, F]),
        (1, [SILENT], [F]),
    ],
)
def test_what_follows_from_each_check(
    limit: int, results: Sequence[HookFailed | None], follow_ups: Sequence[FollowUp]
) -> None:
    check_results = CheckResults(limit)
    assert [check_results.add(result) for result in results] == follow_ups


def test_a_service_is_running_when_its_check_says_so(service: FakeService) -> None:
    service.check_answers = [BROKEN, BROKEN, OK]
    job, report = start_job(service)
    running = report.wait_for_run(lambda run: run.phase is RunPhase.RUNNING)
    assert service.events[:4] == ["start", "check", "check", "check"]
    assert running.restarts == 0
    stop_job(job, report)
    assert report.events == ["started", "stopped"]
    assert report.phases == ["Starting", "Running", "Stopping"]


def test_a_check_has_the_term_and_the_headers(service: FakeService) -> None:
    job, report = start_job(service)
    check = service.wait_for("check")
    stop_job(job, report)
    assert check.path == "/running?key=s3cret"
    assert (check.headers["X-Fencing-Token"], check.headers["X-Team"]) == ("7", "blue")


def test_a_service_that_has_restarted_is_started_again_with_the_same_term(service: FakeService) -> None:
    service.check_answers = [OK, GONE, OK]
    job, report = start_job(service)
    again = report.wait_for_run(lambda run: run.restarts == 1 and run.phase is RunPhase.RUNNING)
    stop_job(job, report)
    starts = [request.content["term"] for request in service.requests if request.content["event"] == "start"]
    assert starts == [7, 7]
    assert report.phases == ["Starting", "Running", "Starting", "Running", "Stopping"]
    assert report.runs[2].last_error == f"{service.url('/running')} answered 404"
    assert (again.last_error, again.failures) == ("", 0)
    assert report.events == ["started", "stopped"]


def test_a_service_that_never_runs_the_job_loses_it_before_it_was_running(service: FakeService) -> None:
    service.check_answers = [GONE]
    job, report = start_job(service, failures=4)
    report.wait_for("start failed")
    stop_job(job, report)
    assert report.events == ["start failed", "stopped"]
    assert (report.runs[-1].phase, report.runs[-1].failures) == (RunPhase.FAILED, 1)
    assert service.events == ["start", "check", "check", "start", "check", "check", "stop"]
    assert str(report.errors[0]) == f"4 checks in a row have failed: {service.url('/running')} answered 404"


def test_a_service_that_refuses_to_start_again_loses_the_job(service: FakeService) -> None:
    service.answers, service.check_answers = [OK, (409, b"term 8 was seen", {})], [OK, GONE]
    job, report = start_job(service)
    report.wait_for("start failed")
    assert str(report.errors[0]).endswith("/start answered 409: term 8 was seen")
    stop_job(job, report)


def test_a_service_that_dies_loses_the_job(service: FakeService) -> None:
    job, report = start_job(service)
    report.wait_for("started")
    service.close()
    report.wait_for("start failed")
    assert "3 checks in a row have failed" in str(report.errors[0])
    assert "cannot be reached" in str(report.errors[0])
    assert "s3cret" not in str(report.errors[0])
    assert report.phases == ["Starting", "Running", "Failed"]
    stop_job(job, report)


def test_a_check_that_hangs_has_failed_when_its_time_is_over(service: FakeService) -> None:
    service.hang("check")
    job, report = start_job(service, failures=1, timeout=0.05)
    report.wait_for("start failed")
    assert str(report.errors[0]) == f"{service.url('/running')} did not answer within 0.05 s"
    stop_job(job, report)


def test_a_stop_does_not_wait_for_a_check_that_hangs_and_ends_the_checks(service: FakeService) -> None:
    service.hang("check")
    job, report = start_job(service, timeout=3600.0)
    service.wait_for("check")
    stop_job(job, report)
    assert service.events == ["start", "check", "stop"]
    assert report.events == ["stopped"]


def test_after_a_stop_nothing_is_checked(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, timers = ManualThreadPool(), list[Callable[[], None]]()
    monkeypatch.setattr(run_module, "call_later", lambda _delay, function: timers.append(function))
    job, report = start_job(service, pool=pool)
    pool.run_all()
    assert report.events == ["started"]
    job.stop()
    pool.run_all()
    (check_again,) = timers
    check_again()
    pool.run_all()
    assert service.events == ["start", "check", "stop"]


def test_without_trust_a_failed_check_has_no_consequence_and_is_the_last(service: FakeService) -> None:
    trust_left = [60.0]
    service.check_answers = [OK, BROKEN]
    service.before_answer["check"] = lambda: trust_left.__setitem__(0, 2.0 - service.events.count("check"))
    term = LiveTerm(Term("the lock", 7), lambda: trust_left[0], refuse_guard)
    job, report = start_job(service, failures=1, term=term)
    service.wait_for_count("check", 2)
    stop_job(job, report)
    assert service.events == ["start", "check", "check", "stop"]
    assert report.events == ["started", "stopped"]


def test_the_config_file_names_a_check() -> None:
    spec = parse_one({"http": {"start": "http://a/", "check": {"url": "http://a/running"}}})
    assert isinstance(spec, HttpSpec)
    assert spec.hooks.check == Check("http://a/running", 10.0, 2.0, 3)
    check = {"url": "https://a/", "interval": "1m", "timeout": "500ms", "failures": 1}
    spec = parse_one({"http": {"start": "http://a/", "check": check}})
    assert isinstance(spec, HttpSpec)
    assert spec.hooks.check == Check("https://a/", 60.0, 0.5, 1)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"check": {"interval": "1s"}}, "it.http.check.url (line 4) is missing"),
        ({"check": {"url": "a"}}, "it.http.check.url (line 4) must be a URL"),
        ({"check": {"url": "http://a", "failures": 0}}, "must be a whole number from 1 to 100, not 0"),
        ({"check": {"url": "http://a", "interval": "1ms"}}, "it.http.check.interval (line 4) must be from 100ms"),
        ({"check": {"url": "http://a", "retries": 1}}, "retries"),
        ({"restart": "always"}, "it.http.restart (line 3) does not apply to http: "),
        ({"once": True}, "it.http.once (line 3) does not apply to http: "),
        ({"startSeconds": 5}, "it.http.startSeconds (line 3) does not apply to http: "),
    ],
)
def test_what_a_service_cannot_have_is_refused_by_name(fields: dict[str, object], problem: str) -> None:
    assert problem in parse_error({"http": {"start": "http://a/", **fields}})
