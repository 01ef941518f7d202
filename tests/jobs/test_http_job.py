"""HTTP hooks as a job, with a real service: what it receives, what counts as done, and what never hangs."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.clock import clock
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job
from masterjob.jobs.http import call as call_module
from masterjob.jobs.http.call import Hooks
from masterjob.jobs.http.request import BODY_LIMIT
from masterjob.jobs.http.spec import HttpSpec
from masterjob.jobs.registry import parse_jobs
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term
from tests.jobs.process_checks import LogCapture
from tests.jobs.service import FakeService
from tests.timeouts import WAIT_TIMEOUT

POOL = ThreadPool("test-http")


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.close()


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "BACKOFF", Backoff(0.001, 2.0))


def make_hooks(service: FakeService) -> Hooks:
    return Hooks(service.url("/start?token=s3cret"), service.url("/stop"), {}, WAIT_TIMEOUT, 2)


def start_job(
    hooks: Hooks, stop_timeout: float = WAIT_TIMEOUT, trust: float = 60.0
) -> tuple[Job, RecordingReport]:
    job, report = HttpSpec(hooks).create_job(POOL, stop_timeout), RecordingReport()
    job.start(live_term(trust), report)
    return job, report


def start_error(hooks: Hooks) -> str:
    job, report = start_job(hooks)
    report.wait_for("start failed")
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["start failed", "stopped"]
    return str(report.errors[0])


def test_it_fits_the_port(service: FakeService) -> None:
    job: Job = HttpSpec(make_hooks(service)).create_job(ManualThreadPool(), 1.0)
    job.stop()


def test_start_and_stop_are_posted_with_lock_term_and_deadline(service: FakeService) -> None:
    job, report = start_job(make_hooks(service), stop_timeout=500.0)
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")
    start, stop = service.requests
    assert (start.path, stop.path) == ("/start?token=s3cret", "/stop")
    for request, event, seconds in [(start, "start", 60), (stop, "stop", 500)]:
        deadline = datetime.fromisoformat(request.content.pop("deadline"))
        assert request.content == {"lockName": "the lock", "term": 7, "event": event}
        assert abs(deadline - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(seconds=30)
        assert request.headers["X-Fencing-Token"] == "7"
        assert request.headers["Content-Type"] == "application/json"
    assert report.events == ["started", "stopped"]


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_2xx_is_done(service: FakeService, status: int) -> None:
    service.answers = [(status, b"" if status == 204 else b"x" * 100_000, {})]
    job, report = start_job(make_hooks(service))
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_any_other_answer_is_a_failure_with_the_start_of_its_body_and_no_retry(
    service: FakeService, status: int
) -> None:
    service.answers = [(status, b"no\x1b[2J " + b"y" * 5000, {})]
    error = start_error(make_hooks(service))
    assert error.startswith(f"{service.url('/start')} answered {status}: no [2J yyy")
    assert len(error) < BODY_LIMIT + 100
    assert "s3cret" not in error
    assert service.events == ["start", "stop"]


def test_it_is_running_when_the_start_was_answered_and_failed_if_it_was_refused(service: FakeService) -> None:
    job, report = start_job(make_hooks(service))
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")
    assert report.phases == ["Starting", "Running", "Stopping"]
    service.answers = [(500, b"no", {})]
    job, report = start_job(make_hooks(service))
    report.wait_for("start failed")
    assert report.phases == ["Starting", "Failed"]
    job.stop()


def test_a_redirect_is_not_followed(service: FakeService) -> None:
    service.answers = [(307, b"", {"Location": service.url("/elsewhere")})]
    assert "answered 307: redirects are not followed" in start_error(make_hooks(service))
    assert [request.path for request in service.requests] == ["/start?token=s3cret", "/stop"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_service_that_is_not_there_yet_is_called_again(service: FakeService, status: int) -> None:
    service.answers = [(status, b"", {}), (status, b"", {}), (200, b"", {})]
    job, report = start_job(make_hooks(service))
    report.wait_for("started")
    assert service.events == ["start"] * 3
    service.answers = [(status, b"", {}), (200, b"", {})]
    job.stop()
    report.wait_for("stopped")
    assert service.events == ["start"] * 3 + ["stop"] * 2


def test_it_is_called_again_only_as_often_as_configured(service: FakeService) -> None:
    service.answers = [(503, b"busy", {})]
    assert "answered 503: busy" in start_error(make_hooks(service))
    assert service.events == ["start"] * 3 + ["stop"] * 3


def test_a_service_that_cannot_be_reached_is_named(service: FakeService) -> None:
    with socket.socket() as closed_port:
        closed_port.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed_port.getsockname()[1]}/"
        error = start_error(replace(make_hooks(service), start=url))
    assert error.startswith(f"{url} cannot be reached: ")
    assert "Connection refused" in error
    assert "object at 0x" not in error


def test_a_service_without_tls_or_without_a_dns_name_is_named(service: FakeService) -> None:
    url = f"https://127.0.0.1:{service.port}/"
    assert start_error(replace(make_hooks(service), start=url)).startswith(f"{url} cannot be reached: ")
    assert start_error(replace(make_hooks(service), start="http://no.such.invalid/")).startswith(
        "http://no.such.invalid/ "
    )


def test_a_start_that_takes_too_long_is_a_failure_and_still_stopped(service: FakeService) -> None:
    service.hang("start")
    assert "did not answer in time" in start_error(replace(make_hooks(service), timeout=2.0))
    assert service.events == ["start", "stop"]


def test_a_start_that_is_answered_a_byte_at_a_time_is_cancelled(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.hang("start")
    monkeypatch.setattr(call_module, "BACKOFF", Backoff(0.001, 0.3 - WAIT_TIMEOUT))
    assert "the call was cancelled" in start_error(replace(make_hooks(service), retries=0))


def test_a_stop_does_not_wait_for_a_start_that_hangs(service: FakeService) -> None:
    service.hang("start")
    job, report = start_job(replace(make_hooks(service), timeout=3600.0))
    service.wait_for("start")
    job.stop()
    report.wait_for("stopped")
    assert service.events == ["start", "stop"]
    assert report.events == ["stopped"]


def test_a_start_that_is_tried_again_ends_with_the_stop(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "BACKOFF", Backoff(30.0, 30.0))
    service.answers = [(503, b"", {}), (204, b"", {})]
    job, report = start_job(make_hooks(service))
    service.wait_for("start")
    job.stop()
    report.wait_for("stopped")
    assert service.events == ["start", "stop"]
    assert report.events == ["stopped"]


def test_a_start_is_not_tried_again_when_the_trust_would_be_over(service: FakeService) -> None:
    service.answers = [(503, b"", {})]
    job, report = start_job(make_hooks(service), trust=0.0005)
    report.wait_for("start failed")
    job.stop()
    report.wait_for("stopped")
    assert service.events.count("start") <= 1


def test_a_stop_that_hangs_is_given_up_after_the_stop_timeout(service: FakeService, log: LogCapture) -> None:
    service.hang("stop")
    job, report = start_job(make_hooks(service), stop_timeout=0.3)
    report.wait_for("started")
    stop_requested_at = clock()
    job.stop()
    report.wait_for("stopped")
    assert clock() - stop_requested_at > 0.29
    log.wait_until(lambda: any("the lock: the stop was not confirmed" in line for _, line in log.lines))


def test_a_stop_timeout_that_changes_counts_for_the_stop_to_come(service: FakeService) -> None:
    service.hang("stop")
    job, report = start_job(make_hooks(service), stop_timeout=3600.0)
    report.wait_for("started")
    job.set_stop_timeout(0.3)
    job.stop()
    report.wait_for("stopped")


def test_a_stop_that_is_refused_is_logged_and_counts(service: FakeService, log: LogCapture) -> None:
    service.answers = [(204, b"", {}), (500, b"sorry", {})]
    job, report = start_job(make_hooks(service))
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")
    log.wait_for("ERROR", f"the lock: the stop was not confirmed: {service.url('/stop')} answered 500: sorry")


def test_without_a_stop_nothing_more_is_posted(service: FakeService) -> None:
    job, report = start_job(replace(make_hooks(service), stop=None))
    report.wait_for("started")
    job.stop()
    job.stop()
    assert report.events == ["started", "stopped"]
    assert service.events == ["start"]


@pytest.mark.parametrize("trust", [0.0, 60.0])
def test_a_run_that_has_not_begun_posts_nothing(service: FakeService, trust: float) -> None:
    pool, report = ManualThreadPool(), RecordingReport()
    job = HttpSpec(make_hooks(service)).create_job(pool, 1.0)
    job.start(live_term(trust), report)
    if trust:
        job.stop()
    pool.run_all()
    job.stop()
    assert report.events == ["stopped"]
    assert service.requests == []


def parse_hooks(service: FakeService, headers: object) -> Hooks:
    section = {"job": {"http": {"start": service.url("/"), "headers": headers}}}
    spec = parse_jobs(section, ".".join)["job"]
    assert isinstance(spec, HttpSpec)
    return spec.hooks


def test_headers_come_from_text_files_and_the_environment_anew_at_each_call(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: LogCapture
) -> None:
    secret = tmp_path / "secret"
    hooks = parse_hooks(
        service, {"X-Text": "plain", "Authorization": {"file": str(secret)}, "X-Key": {"environment": "THE_KEY"}}
    )
    for value in ["first", "second"]:
        secret.write_text(f"Bearer {value}\n")
        monkeypatch.setenv("THE_KEY", f"key {value}")
        job, report = start_job(hooks)
        report.wait_for("started")
        job.stop()
        headers = service.requests[-1].headers
        assert (headers["X-Text"], headers["Authorization"]) == ("plain", f"Bearer {value}")
        assert headers["X-Key"] == f"key {value}"
    assert "Bearer" not in repr(hooks) + str(log.lines)


def test_a_header_that_cannot_be_read_is_a_failure_that_names_it_without_its_value(
    service: FakeService, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    hooks = parse_hooks(service, {"X-Key": {"file": str(secret)}})
    assert start_error(hooks) == f"header X-Key: file {secret}: No such file or directory"
    secret.write_text("s3cret\r\nInjected: yes")
    assert "has one that is not allowed in a header" in start_error(hooks)
    assert "s3cret" not in start_error(hooks)
    secret.write_bytes(b"\xff\xfe")
    assert "not text" in start_error(hooks)
    secret.write_text("s" * 9000)
    assert "longer than" in start_error(hooks)
    assert "environment NO_SUCH" in start_error(parse_hooks(service, {"X-Key": {"environment": "NO_SUCH"}}))
    assert service.requests == []
