"""A job of functions: when they are called, and what is reported. Most tests run the threads by hand."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masterjob.election.errors import SettingError, TermLost
from masterjob.election.ports import Job, Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.crew import Crew
from masterjob.jobs.python.job import PythonJob
from tests.jobs.stage import SOON, HandCrew, Notes, live_term


def test_it_fits_the_ports() -> None:
    job: Job = PythonJob(print, None, HandCrew(), None)
    report: Report = Notes()
    job.stop()
    assert report.stopped.__name__ == "stopped"


def test_start_and_stop_are_called_once_each_and_reported() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()
    job = PythonJob(lambda: calls.append("start"), lambda: calls.append("stop"), crew, None)
    job.start(live_term(), notes)
    assert (calls, notes.told) == ([], [])
    crew.settle()
    assert (calls, notes.told) == (["start"], ["started"])
    job.stop()
    assert (calls, notes.told) == (["start"], ["started"])
    crew.settle()
    assert (calls, notes.told) == (["start", "stop"], ["started", "stopped"])


def test_both_functions_get_the_term_if_they_want_it() -> None:
    crew, term, got = HandCrew(), live_term(), list[LiveTerm]()
    job = PythonJob(got.append, got.append, crew, None)
    job.start(term, Notes())
    crew.settle()
    job.stop()
    crew.settle()
    assert got == [term, term]


def test_a_lost_term_starts_nothing() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()
    job = PythonJob(lambda: calls.append("start"), lambda: calls.append("stop"), crew, None)
    job.start(live_term(trust=0.0), notes)
    crew.settle()
    job.stop()
    crew.settle()
    assert (calls, notes.told) == ([], ["stopped"])


def test_the_trust_is_looked_at_right_before_start_not_when_it_was_ordered() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()
    job, term = PythonJob(lambda: calls.append("start"), None, crew, None), live_term()
    job.start(term, notes)
    term.end()
    crew.settle()
    assert (calls, notes.told) == ([], ["stopped"])


def test_a_stop_before_start_was_called_starts_nothing_and_needs_no_thread() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()
    job = PythonJob(lambda: calls.append("start"), lambda: calls.append("stop"), crew, None)
    job.start(live_term(), notes)
    job.stop()
    assert notes.told == ["stopped"]
    crew.settle()
    assert (calls, notes.told) == ([], ["stopped"])


def test_stop_ends_the_term_before_anything_else() -> None:
    crew, term = HandCrew(), live_term()
    job = PythonJob(lambda: None, lambda: None, crew, None)
    job.start(term, Notes())
    crew.settle()
    job.stop()
    assert term.wait(0)
    with pytest.raises(TermLost):
        term.raise_if_lost()


def test_a_start_that_blocks_is_stopped_at_once_and_once_more_when_it_has_returned() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()

    def start() -> None:
        calls.append("start begins")
        job.stop()
        crew.step()
        assert notes.told == []
        calls.append("start returns")

    job = PythonJob(start, lambda: calls.append("stop"), crew, None)
    job.start(live_term(), notes)
    crew.step()
    assert (calls, notes.told) == (["start begins", "stop", "start returns"], [])
    crew.settle()
    assert calls == ["start begins", "stop", "start returns", "stop"]
    assert notes.told == ["stopped"]


def test_the_second_stop_waits_for_the_first() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()

    def start() -> None:
        job.stop()

    def stop() -> None:
        calls.append("stop begins")
        assert crew.waiting == []
        calls.append("stop ends")

    job = PythonJob(start, stop, crew, None)
    job.start(live_term(), notes)
    crew.settle()
    assert calls == ["stop begins", "stop ends"] * 2
    assert notes.told == ["stopped"]


def test_a_run_without_stop_is_over_when_start_has_returned_by_itself() -> None:
    crew, notes = HandCrew(), Notes()

    def start(term: LiveTerm) -> None:
        job.stop()
        assert term.wait(0)
        assert notes.told == []

    job = PythonJob(start, None, crew, None)
    job.start(live_term(), notes)
    crew.settle()
    assert notes.told == ["stopped"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(2), KeyboardInterrupt()])
def test_a_start_that_raises_is_reported_and_logged_and_still_stopped(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()

    def start() -> None:
        raise error

    job = PythonJob(start, lambda: calls.append("stop"), crew, None)
    job.start(live_term(), notes)
    crew.settle()
    assert (calls, notes.told, notes.errors) == ([], ["start failed"], [error])
    assert "start of lock the lock raised" in caplog.text
    assert "Traceback" in caplog.text
    job.stop()
    crew.settle()
    assert (calls, notes.told) == (["stop"], ["start failed", "stopped"])


@pytest.mark.parametrize(("error", "logged"), [(TermLost("over"), False), (ValueError("no"), True)])
def test_a_start_that_raises_while_it_is_stopped_has_not_failed(
    error: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()

    def start() -> None:
        job.stop()
        raise error

    job = PythonJob(start, lambda: calls.append("stop"), crew, None)
    job.start(live_term(), notes)
    crew.settle()
    assert (calls, notes.told) == (["stop", "stop"], ["stopped"])
    assert ("start of lock the lock raised" in caplog.text) is logged


def test_a_stop_that_raises_is_logged_with_its_lock_and_counts_as_returned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    crew, notes = HandCrew(), Notes()

    def stop() -> None:
        raise SystemExit("not from here")

    job = PythonJob(lambda: None, stop, crew, None)
    job.start(live_term(), notes)
    crew.settle()
    job.stop()
    crew.settle()
    assert notes.told == ["started", "stopped"]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("masterjob.jobs", "ERROR")
    assert "stop of lock the lock raised" in caplog.text
    assert "Traceback" in caplog.text


def test_a_function_that_returns_a_coroutine_has_failed() -> None:
    crew, notes = HandCrew(), Notes()

    async def coroutine(_name: str) -> None: ...

    job = PythonJob(lambda: coroutine("mine"), None, crew, None)
    job.start(live_term(), notes)
    crew.settle()
    assert notes.told == ["start failed"]
    assert isinstance(notes.errors[0], SettingError)
    assert "masterJob.start returned a coroutine" in str(notes.errors[0])


def test_stopping_twice_stops_once() -> None:
    crew, notes, calls = HandCrew(), Notes(), list[str]()
    job = PythonJob(lambda: None, lambda: calls.append("stop"), crew, None)
    job.stop()
    job.start(live_term(), notes)
    crew.settle()
    for _ in range(3):
        job.stop()
    crew.settle()
    job.stop()
    crew.settle()
    assert (calls, notes.told) == (["stop"], ["started", "stopped"])


def test_after_stopped_a_new_run_can_begin() -> None:
    crew, calls = HandCrew(), list[str]()
    job = PythonJob(lambda: calls.append("start"), lambda: calls.append("stop"), crew, None)
    for _ in range(3):
        notes = Notes()
        job.start(live_term(), notes)
        crew.settle()
        job.stop()
        crew.settle()
        assert notes.told == ["started", "stopped"]
    assert calls == ["start", "stop"] * 3


def test_a_report_may_call_back_into_the_job() -> None:
    crew, calls = HandCrew(), list[str]()
    job = PythonJob(lambda: calls.append("start"), lambda: calls.append("stop"), crew, None)

    class Restarts(Notes):
        def started(self) -> None:
            super().started()
            job.stop()

        def stopped(self) -> None:
            super().stopped()
            if len(self.told) < 6:
                job.start(live_term(), self)

    notes = Restarts()
    job.start(live_term(), notes)
    crew.settle()
    assert notes.told == ["started", "stopped"] * 3


def test_on_real_threads_a_start_that_waits_for_its_term_is_stopped() -> None:
    notes, calls, waiting = Notes(), list[str](), threading.Event()

    def start(term: LiveTerm) -> None:
        waiting.set()
        term.wait()
        calls.append("start returns")

    job = PythonJob(start, lambda: calls.append("stop"), Crew(), None)
    job.start(live_term(), notes)
    assert waiting.wait(SOON)
    job.stop()
    notes.wait_for("stopped")
    assert sorted(calls) == ["start returns", "stop", "stop"]
    assert calls[-1] == "stop"


def test_on_real_threads_a_start_that_only_stop_can_end_is_ended() -> None:
    notes, asked, waiting = Notes(), threading.Event(), threading.Event()

    def start() -> None:
        waiting.set()
        assert asked.wait(SOON)

    job = PythonJob(start, asked.set, Crew(), None)
    job.start(live_term(), notes)
    assert waiting.wait(SOON)
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["stopped"]


def test_no_user_code_runs_in_the_callers_thread() -> None:
    notes, threads = Notes(), list[int]()
    job = PythonJob(
        lambda: threads.append(threading.get_ident()),
        lambda: threads.append(threading.get_ident()),
        Crew(),
        None,
    )
    job.start(live_term(), notes)
    notes.wait_for("started")
    job.stop()
    notes.wait_for("stopped")
    assert len(threads) == 2
    assert threading.get_ident() not in threads


Moment = st.sampled_from(["before", "inside", "after", "never", "before and after", "inside and after"])


@given(
    when=Moment,
    has_stop=st.booleans(),
    start_raises=st.booleans(),
    stop_raises=st.booleans(),
    lost=st.booleans(),
)
def test_whatever_happens_a_run_ends_with_one_stopped_and_nothing_after_it(
    when: str, has_stop: bool, start_raises: bool, stop_raises: bool, lost: bool
) -> None:
    crew, calls, notes = HandCrew(), list[str](), Notes()

    def fail_if(raises: bool) -> None:
        if raises:
            raise ValueError("on purpose")

    def start() -> None:
        calls.append("start")
        if "inside" in when:
            job.stop()
            crew.settle()
        assert "stopped" not in notes.told
        calls.append("start returns")
        fail_if(start_raises)

    def stop() -> None:
        assert "stopped" not in notes.told
        calls.append("stop")
        fail_if(stop_raises)

    job = PythonJob(start, stop if has_stop else None, crew, None)
    job.start(live_term(0.0 if lost else 9.0), notes)
    moments: list[tuple[str, Callable[[], None]]] = [
        ("before", job.stop),
        ("", crew.settle),
        ("after", job.stop),
    ]
    for name, action in moments:
        if name in when:
            action()
    crew.settle()
    refused = lost or "before" in when
    assert notes.told.count("stopped") == (1 if refused or when != "never" else 0)
    assert len([word for word in notes.told if word.startswith("start")]) == (
        0 if refused or "inside" in when else 1
    )
    assert calls[-1:] == ([] if refused else ["stop"] if has_stop and when != "never" else ["start returns"])
