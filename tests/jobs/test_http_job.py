"""HTTP hooks as a job, with a real service: what it is sent, what counts as done, and what never hangs."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from masterjob.election.clock import clock
from masterjob.election.ports import Job
from masterjob.jobs.crew import Crew
from masterjob.jobs.http import call
from masterjob.jobs.http.call import Hooks
from masterjob.jobs.http.exchange import BODY_LIMIT
from masterjob.jobs.http.job import HttpJob
from masterjob.jobs.http.spec import HttpSpec
from masterjob.jobs.named import parse
from tests.jobs.service import Service
from tests.jobs.shell import Log
from tests.jobs.stage import SOON, HandCrew, Notes, live_term

CREW = Crew("test-http")


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "FIRST_PAUSE", 0.001)


def hooks(service: Service) -> Hooks:
    return Hooks(service.url("/start?token=s3cret"), service.url("/stop"), {}, SOON, 2)


def started(hooks: Hooks, stop_timeout: float = SOON, trust: float = 60.0) -> tuple[HttpJob, Notes]:
    job, notes = HttpJob(hooks, CREW, stop_timeout), Notes()
    job.start(live_term(trust), notes)
    return job, notes


def failed(hooks: Hooks) -> str:
    job, notes = started(hooks)
    notes.wait_for("start failed")
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["start failed", "stopped"]
    return str(notes.errors[0])


def test_it_fits_the_port(service: Service) -> None:
    job: Job = HttpJob(hooks(service), HandCrew(), 1.0)
    job.stop()


def test_start_and_stop_are_posted_with_lock_term_and_deadline(service: Service) -> None:
    job, notes = started(hooks(service), stop_timeout=5.0)
    notes.wait_for("started")
    job.stop()
    notes.wait_for("stopped")
    start, stop = service.asked
    assert (start.path, stop.path) == ("/start?token=s3cret", "/stop")
    for asked, event, seconds in [(start, "start", 60), (stop, "stop", 5)]:
        deadline = datetime.fromisoformat(asked.content.pop("deadline"))
        assert asked.content == {"lockName": "the lock", "term": 7, "event": event}
        assert abs(deadline - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(seconds=5)
        assert asked.headers["X-Fencing-Token"] == "7"
        assert asked.headers["Content-Type"] == "application/json"
    assert notes.told == ["started", "stopped"]


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_2xx_is_done(service: Service, status: int) -> None:
    service.answers = [(status, b"" if status == 204 else b"x" * 100_000, {})]
    job, notes = started(hooks(service))
    notes.wait_for("started")
    job.stop()
    notes.wait_for("stopped")


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_any_other_answer_is_a_failure_with_its_first_words_and_no_retry(service: Service, status: int) -> None:
    service.answers = [(status, b"no\x1b[2J " + b"y" * 5000, {})]
    error = failed(hooks(service))
    assert error.startswith(f"{service.url('/start')} answered {status}: no [2J yyy")
    assert len(error) < BODY_LIMIT + 100
    assert "s3cret" not in error
    assert service.events == ["start", "stop"]


def test_a_redirect_is_not_followed(service: Service) -> None:
    service.answers = [(307, b"", {"Location": service.url("/elsewhere")})]
    assert "answered 307: redirects are not followed" in failed(hooks(service))
    assert [asked.path for asked in service.asked] == ["/start?token=s3cret", "/stop"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_is_not_there_yet_is_asked_again(service: Service, status: int) -> None:
    service.answers = [(status, b"", {}), (status, b"", {}), (200, b"", {})]
    job, notes = started(hooks(service))
    notes.wait_for("started")
    assert service.events == ["start"] * 3
    service.answers = [(status, b"", {}), (200, b"", {})]
    job.stop()
    notes.wait_for("stopped")
    assert service.events == ["start"] * 3 + ["stop"] * 2


def test_it_is_asked_again_only_as_often_as_configured(service: Service) -> None:
    service.answers = [(503, b"busy", {})]
    assert "answered 503: busy" in failed(hooks(service))
    assert service.events == ["start"] * 3 + ["stop"] * 3


def test_who_cannot_be_reached_is_named(service: Service) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        error = failed(replace(hooks(service), start=url))
    assert error.startswith(f"{url} cannot be reached: ")
    assert "Connection refused" in error
    assert "object at 0x" not in error


def test_who_does_not_speak_tls_or_has_no_name_is_named(service: Service) -> None:
    url = f"https://127.0.0.1:{service.port}/"
    assert failed(replace(hooks(service), start=url)).startswith(f"{url} cannot be reached: ")
    assert failed(replace(hooks(service), start="http://no.such.invalid/")).startswith("http://no.such.invalid/ ")


def test_a_start_that_takes_too_long_is_a_failure_and_still_stopped(service: Service) -> None:
    service.hang("start")
    assert "did not answer in time" in failed(replace(hooks(service), timeout=0.2))
    assert service.events == ["start", "stop"]


def test_a_start_that_is_answered_a_byte_at_a_time_ends_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.hang("start")
    monkeypatch.setattr(call, "LONGEST_PAUSE", 0.3 - SOON)
    assert "the call was broken off" in failed(replace(hooks(service), retries=0))


def test_a_stop_does_not_wait_for_a_start_that_hangs(service: Service) -> None:
    service.hang("start")
    job, notes = started(replace(hooks(service), timeout=3600.0))
    service.wait_for("start")
    job.stop()
    notes.wait_for("stopped")
    assert service.events == ["start", "stop"]
    assert notes.told == ["stopped"]


def test_a_start_that_is_tried_again_ends_with_the_stop(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "FIRST_PAUSE", 30.0)
    service.answers = [(503, b"", {}), (204, b"", {})]
    job, notes = started(hooks(service))
    service.wait_for("start")
    job.stop()
    notes.wait_for("stopped")
    assert service.events == ["start", "stop"]
    assert notes.told == ["stopped"]


def test_a_start_is_not_tried_again_when_the_trust_would_be_over(service: Service) -> None:
    service.answers = [(503, b"", {})]
    job, notes = started(hooks(service), trust=0.0005)
    notes.wait_for("start failed")
    job.stop()
    notes.wait_for("stopped")
    assert service.events.count("start") <= 1


def test_a_stop_that_hangs_is_given_up_after_the_stop_timeout(service: Service, log: Log) -> None:
    service.hang("stop")
    job, notes = started(hooks(service), stop_timeout=0.3)
    notes.wait_for("started")
    asked = clock()
    job.stop()
    notes.wait_for("stopped")
    assert clock() - asked > 0.29
    log.wait_until(lambda: any("the lock: the stop was not confirmed" in line for _, line in log.lines))


def test_a_stop_timeout_that_changes_counts_for_the_stop_to_come(service: Service) -> None:
    service.hang("stop")
    job, notes = started(hooks(service), stop_timeout=3600.0)
    notes.wait_for("started")
    job.stop_within(0.3)
    job.stop()
    notes.wait_for("stopped")


def test_a_stop_that_is_refused_is_logged_and_counts(service: Service, log: Log) -> None:
    service.answers = [(204, b"", {}), (500, b"sorry", {})]
    job, notes = started(hooks(service))
    notes.wait_for("started")
    job.stop()
    notes.wait_for("stopped")
    log.wait_for("ERROR", f"the lock: the stop was not confirmed: {service.url('/stop')} answered 500: sorry")


def test_without_a_stop_nothing_more_is_posted(service: Service) -> None:
    job, notes = started(replace(hooks(service), stop=None))
    notes.wait_for("started")
    job.stop()
    job.stop()
    assert notes.told == ["started", "stopped"]
    assert service.events == ["start"]


@pytest.mark.parametrize("trust", [0.0, 60.0])
def test_a_run_that_has_not_begun_posts_nothing(service: Service, trust: float) -> None:
    crew, notes = HandCrew(), Notes()
    job = HttpJob(hooks(service), crew, 1.0)
    job.start(live_term(trust), notes)
    if trust:
        job.stop()
    crew.settle()
    job.stop()
    assert notes.told == ["stopped"]
    assert service.asked == []


def with_headers(service: Service, headers: object) -> Hooks:
    section = {"job": {"http": {"start": service.url("/"), "headers": headers}}}
    spec = parse(section, ".".join)["job"]
    assert isinstance(spec, HttpSpec)
    return spec.hooks


def test_headers_come_from_text_files_and_the_environment_anew_at_each_call(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    secret = tmp_path / "secret"
    hooks = with_headers(
        service, {"X-Text": "plain", "Authorization": {"file": str(secret)}, "X-Key": {"environment": "THE_KEY"}}
    )
    for value in ["first", "second"]:
        secret.write_text(f"Bearer {value}\n")
        monkeypatch.setenv("THE_KEY", f"key {value}")
        job, notes = started(hooks)
        notes.wait_for("started")
        job.stop()
        headers = service.asked[-1].headers
        assert (headers["X-Text"], headers["Authorization"]) == ("plain", f"Bearer {value}")
        assert headers["X-Key"] == f"key {value}"
    assert "Bearer" not in repr(hooks) + str(log.lines)


def test_a_header_that_cannot_be_read_is_a_failure_that_names_it_without_its_value(
    service: Service, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    hooks = with_headers(service, {"X-Key": {"file": str(secret)}})
    assert failed(hooks) == f"header X-Key: file {secret}: No such file or directory"
    secret.write_text("s3cret\r\nInjected: yes")
    assert "has one that a header cannot have" in failed(hooks)
    assert "s3cret" not in failed(hooks)
    secret.write_bytes(b"\xff\xfe")
    assert "not text" in failed(hooks)
    secret.write_text("s" * 9000)
    assert "longer than" in failed(hooks)
    assert "environment NO_SUCH" in failed(with_headers(service, {"X-Key": {"environment": "NO_SUCH"}}))
    assert service.asked == []
