"""A job of functions: when they are called, and what is reported. Most tests run the pool themselves."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job, Report
from masterjob.election.term import LiveTerm
from masterjob.errors import SettingError, TermLost
from masterjob.jobs import run as run_module
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term, python_job
from tests.timeouts import WAIT_TIMEOUT


def test_it_fits_the_ports() -> None:
    job: Job = python_job(print, None, ManualThreadPool())
    report: Report = RecordingReport()
    job.stop()
    assert report.stopped.__name__ == "stopped"


def test_start_and_stop_are_called_once_each_and_reported() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = python_job(lambda: calls.append("start"), lambda: calls.append("stop"), pool)
    job.start(live_term(), report)
    assert (calls, report.events) == ([], [])
    pool.run_all()
    assert (calls, report.events) == (["start"], ["started"])
    job.stop()
    assert (calls, report.events) == (["start"], ["started"])
    pool.run_all()
    assert (calls, report.events) == (["start", "stop"], ["started", "stopped"])


def test_a_start_that_returns_is_running() -> None:
    pool, report = ManualThreadPool(), RecordingReport()
    job = python_job(lambda: None, None, pool)
    job.start(live_term(), report)
    assert report.phases == []
    pool.run_all()
    assert report.phases == ["Starting", "Running"]
    job.stop()
    assert report.phases == ["Starting", "Running", "Stopping"]


def test_a_start_that_stays_is_running_after_its_start_time() -> None:
    pool, report, may_return = ThreadPool(), RecordingReport(), threading.Event()
    job = python_job(may_return.wait, may_return.set, pool, start_seconds=0.1)
    job.start(live_term(), report)
    report.wait_for("started")
    assert report.phases == ["Starting", "Running"]
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["started", "stopped"]


def test_a_start_that_raises_after_its_start_time_is_still_a_failure() -> None:
    pool, report, may_raise = ThreadPool(), RecordingReport(), threading.Event()

    def start() -> None:
        may_raise.wait()
        raise ValueError("no\ndisk")

    job = python_job(start, None, pool, start_seconds=0.1)
    job.start(live_term(), report)
    report.wait_for("started")
    may_raise.set()
    report.wait_for("start failed")
    assert report.phases == ["Starting", "Running", "Failed"]
    assert report.runs[-1].last_error == "ValueError: no disk"
    job.stop()


def test_the_start_time_of_a_job_that_was_stopped_meanwhile_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, report, timers = ManualThreadPool(), RecordingReport(), list[Callable[[], None]]()
    monkeypatch.setattr(run_module, "call_later", lambda _delay, function: timers.append(function))
    job = python_job(lambda: None, None, pool)
    job.start(live_term(), report)
    pool.run_all()
    job.stop()
    timers[0]()
    assert report.phases == ["Starting", "Running", "Stopping"]


def test_a_job_that_was_never_started_has_no_run() -> None:
    pool, report = ManualThreadPool(), RecordingReport()
    job = python_job(lambda: None, None, pool)
    job.start(live_term(), report)
    job.stop()
    pool.run_all()
    assert report.runs == []


def test_both_functions_get_the_term_if_they_want_it() -> None:
    pool, term, received = ManualThreadPool(), live_term(), list[LiveTerm]()
    job = python_job(received.append, received.append, pool)
    job.start(term, RecordingReport())
    pool.run_all()
    job.stop()
    pool.run_all()
    assert received == [term, term]


def test_a_lost_term_starts_nothing() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = python_job(lambda: calls.append("start"), lambda: calls.append("stop"), pool)
    job.start(live_term(trust=0.0), report)
    pool.run_all()
    job.stop()
    pool.run_all()
    assert (calls, report.events) == ([], ["stopped"])


def test_the_trust_is_checked_right_before_start_not_when_it_was_submitted() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job, term = python_job(lambda: calls.append("start"), None, pool), live_term()
    job.start(term, report)
    term.end()
    pool.run_all()
    assert (calls, report.events) == ([], ["stopped"])


def test_a_stop_before_start_was_called_starts_nothing_and_needs_no_thread() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = python_job(lambda: calls.append("start"), lambda: calls.append("stop"), pool)
    job.start(live_term(), report)
    job.stop()
    assert report.events == ["stopped"]
    pool.run_all()
    assert (calls, report.events) == ([], ["stopped"])


def test_stop_ends_the_term_before_anything_else() -> None:
    pool, term = ManualThreadPool(), live_term()
    job = python_job(lambda: None, lambda: None, pool)
    job.start(term, RecordingReport())
    pool.run_all()
    job.stop()
    assert term.wait(0)
    with pytest.raises(TermLost):
        term.raise_if_lost()


def test_a_start_that_blocks_is_stopped_at_once_and_once_more_when_it_has_returned() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def start() -> None:
        calls.append("start begins")
        job.stop()
        pool.run_next()
        assert report.events == []
        calls.append("start returns")

    job = python_job(start, lambda: calls.append("stop"), pool)
    job.start(live_term(), report)
    pool.run_next()
    assert (calls, report.events) == (["start begins", "stop", "start returns"], [])
    pool.run_all()
    assert calls == ["start begins", "stop", "start returns", "stop"]
    assert report.events == ["stopped"]


def test_the_second_stop_waits_for_the_first() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def start() -> None:
        job.stop()

    def stop() -> None:
        calls.append("stop begins")
        assert pool.pending == []
        calls.append("stop ends")

    job = python_job(start, stop, pool)
    job.start(live_term(), report)
    pool.run_all()
    assert calls == ["stop begins", "stop ends"] * 2
    assert report.events == ["stopped"]


def test_a_run_without_stop_is_over_when_start_has_returned_by_itself() -> None:
    pool, report = ManualThreadPool(), RecordingReport()

    def start(term: LiveTerm) -> None:
        job.stop()
        assert term.wait(0)
        assert report.events == []

    job = python_job(start, None, pool)
    job.start(live_term(), report)
    pool.run_all()
    assert report.events == ["stopped"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(2), KeyboardInterrupt()])
def test_a_start_that_raises_is_reported_and_logged_and_still_stopped(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def start() -> None:
        raise error

    job = python_job(start, lambda: calls.append("stop"), pool)
    job.start(live_term(), report)
    pool.run_all()
    assert (calls, report.events, report.errors) == ([], ["start failed"], [error])
    assert "start of lock the lock raised" in caplog.text
    assert "Traceback" in caplog.text
    job.stop()
    pool.run_all()
    assert (calls, report.events) == (["stop"], ["start failed", "stopped"])


@pytest.mark.parametrize(("error", "logged"), [(TermLost("over"), False), (ValueError("no"), True)])
def test_a_start_that_raises_while_it_is_stopped_has_not_failed(
    error: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def start() -> None:
        job.stop()
        raise error

    job = python_job(start, lambda: calls.append("stop"), pool)
    job.start(live_term(), report)
    pool.run_all()
    assert (calls, report.events) == (["stop", "stop"], ["stopped"])
    assert ("start of lock the lock raised" in caplog.text) is logged


def test_a_stop_that_raises_is_logged_with_its_lock_and_counts_as_returned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool, report = ManualThreadPool(), RecordingReport()

    def stop() -> None:
        raise SystemExit("not from here")

    job = python_job(lambda: None, stop, pool)
    job.start(live_term(), report)
    pool.run_all()
    job.stop()
    pool.run_all()
    assert report.events == ["started", "stopped"]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("masterjob.jobs", "ERROR")
    assert "stop of lock the lock raised" in caplog.text
    assert "Traceback" in caplog.text


def test_a_function_that_returns_a_coroutine_has_failed() -> None:
    pool, report = ManualThreadPool(), RecordingReport()

    async def coroutine(_name: str) -> None: ...

    job = python_job(lambda: coroutine("mine"), None, pool)
    job.start(live_term(), report)
    pool.run_all()
    assert report.events == ["start failed"]
    assert isinstance(report.errors[0], SettingError)
    assert "masterJob.start returned a coroutine" in str(report.errors[0])


def test_stopping_twice_stops_once() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = python_job(lambda: None, lambda: calls.append("stop"), pool)
    job.stop()
    job.start(live_term(), report)
    pool.run_all()
    for _ in range(3):
        job.stop()
    pool.run_all()
    job.stop()
    pool.run_all()
    assert (calls, report.events) == (["stop"], ["started", "stopped"])


def test_after_stopped_a_new_run_can_begin() -> None:
    pool, calls = ManualThreadPool(), list[str]()
    job = python_job(lambda: calls.append("start"), lambda: calls.append("stop"), pool)
    for _ in range(3):
        report = RecordingReport()
        job.start(live_term(), report)
        pool.run_all()
        job.stop()
        pool.run_all()
        assert report.events == ["started", "stopped"]
    assert calls == ["start", "stop"] * 3


def test_a_report_may_call_back_into_the_job() -> None:
    pool, calls = ManualThreadPool(), list[str]()
    job = python_job(lambda: calls.append("start"), lambda: calls.append("stop"), pool)

    class RestartingReport(RecordingReport):
        def started(self) -> None:
            super().started()
            job.stop()

        def stopped(self) -> None:
            super().stopped()
            if len(self.events) < 6:
                job.start(live_term(), self)

    report = RestartingReport()
    job.start(live_term(), report)
    pool.run_all()
    assert report.events == ["started", "stopped"] * 3


def test_on_real_threads_a_start_that_waits_for_its_term_is_stopped() -> None:
    report, calls, waiting = RecordingReport(), list[str](), threading.Event()

    def start(term: LiveTerm) -> None:
        waiting.set()
        term.wait()
        calls.append("start returns")

    job = python_job(start, lambda: calls.append("stop"), ThreadPool())
    job.start(live_term(), report)
    assert waiting.wait(WAIT_TIMEOUT)
    job.stop()
    report.wait_for("stopped")
    assert sorted(calls) == ["start returns", "stop", "stop"]
    assert calls[-1] == "stop"


def test_on_real_threads_a_start_that_only_stop_can_end_is_ended() -> None:
    report, stop_called, waiting = RecordingReport(), threading.Event(), threading.Event()

    def start() -> None:
        waiting.set()
        assert stop_called.wait(WAIT_TIMEOUT)

    job = python_job(start, stop_called.set, ThreadPool())
    job.start(live_term(), report)
    assert waiting.wait(WAIT_TIMEOUT)
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["stopped"]


def test_no_user_code_runs_in_the_callers_thread() -> None:
    report, threads = RecordingReport(), list[int]()
    job = python_job(
        lambda: threads.append(threading.get_ident()),
        lambda: threads.append(threading.get_ident()),
        ThreadPool(),
    )
    job.start(live_term(), report)
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")
    assert len(threads) == 2
    assert threading.get_ident() not in threads


STOP_MOMENTS = st.sampled_from(["before", "inside", "after", "never", "before and after", "inside and after"])


@given(
    when=STOP_MOMENTS,
    has_stop=st.booleans(),
    start_raises=st.booleans(),
    stop_raises=st.booleans(),
    lost=st.booleans(),
)
def test_whatever_happens_a_run_ends_with_one_stopped_and_nothing_after_it(
    when: str, has_stop: bool, start_raises: bool, stop_raises: bool, lost: bool
) -> None:
    pool, calls, report = ManualThreadPool(), list[str](), RecordingReport()

    def fail_if(raises: bool) -> None:
        if raises:
            raise ValueError("on purpose")

    def start() -> None:
        calls.append("start")
        if "inside" in when:
            job.stop()
            pool.run_all()
        assert "stopped" not in report.events
        calls.append("start returns")
        fail_if(start_raises)

    def stop() -> None:
        assert "stopped" not in report.events
        calls.append("stop")
        fail_if(stop_raises)

    job = python_job(start, stop if has_stop else None, pool)
    job.start(live_term(0.0 if lost else 9.0), report)
    moments: list[tuple[str, Callable[[], None]]] = [
        ("before", job.stop),
        ("", pool.run_all),
        ("after", job.stop),
    ]
    for name, action in moments:
        if name in when:
            action()
    pool.run_all()
    refused = lost or "before" in when
    assert report.events.count("stopped") == (1 if refused or when != "never" else 0)
    assert len([word for word in report.events if word.startswith("start")]) == (
        0 if refused or "inside" in when else 1
    )
    assert calls[-1:] == ([] if refused else ["stop"] if has_stop and when != "never" else ["start returns"])
