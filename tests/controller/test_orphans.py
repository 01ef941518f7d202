"""What the start of a controller does to what dead ones have left on its host."""

from pathlib import Path

from tests.controller.conftest import ControllerHarness
from tests.jobs.controllers import kill_controller_and_shim, run_controller
from tests.jobs.process_checks import ProcessPipe


def test_the_start_of_a_controller_ends_what_a_dead_one_has_left(tmp_path: Path) -> None:
    process_pipe = ProcessPipe(tmp_path)
    script = "(setsid sh -c 'trap \"\" TERM; echo up >&9; sleep 600' &) & sleep 600"
    with run_controller(process_pipe.shell_argv(script)) as controller:
        process_pipe.wait_for("up")
        kill_controller_and_shim(controller)
    harness = ControllerHarness(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")
    process_pipe.wait_until_gone()
    harness.close()
    process_pipe.close()
