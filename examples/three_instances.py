"""`make run`: three controllers on the manifests of examples/, each replaced when it dies."""

import signal

if __name__ == "__main__":  # nothing has started yet: exit without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys
from collections.abc import Sequence

from examples.demonstration import ROOT, MasterPrinter, ProcessSpec, free_ports, set_up_demonstration

RUN_DIRECTORY = ROOT / ".run"
CONFIG = "examples/config.yaml"
URL = f"sqlite:///{RUN_DIRECTORY}/demo.sqlite3"
LOCK = "TICKER"

GUIDE = """
Three controllers compete for the lock {lock} of examples/manifests/ticker.yaml. One is master; the others wait.

  kill -9 PID     kill the master: another takes over when its lease of 3 s has passed
  kill PID        stop it cleanly: another takes over within milliseconds

Or edit the manifest: enabled: false stops the job. Or, in another terminal:

  .venv/bin/masterjob disable {lock} --reason 'trying it out' --config {config}
  .venv/bin/masterjob enable {lock} --config {config}
  .venv/bin/masterjob status {lock} --config {config}      Running, Disabled and so on, and why
  .venv/bin/masterjob history {lock} --config {config}

Or over HTTP, at any of the three (ports {ports}):

  curl -d 'lockName={lock}&reason=trying it out' http://localhost:{first}/api/MasterControls/disable
  curl -d 'lockName={lock}' http://localhost:{second}/api/MasterControls/enable
  http://localhost:{first}/explorer     all calls, in a browser; also /metrics, /healthz, /readyz

Ctrl-C ends everything.
"""


def format_guide(ports: Sequence[str]) -> str:
    return GUIDE.format(lock=LOCK, config=CONFIG, ports=", ".join(ports), first=ports[0], second=ports[1])


def controller_process(name: str) -> ProcessSpec:
    port = name.rpartition("-")[2]
    argv = [sys.executable, "-m", "masterjob", "run", "examples/manifests", "--config", CONFIG, "--port", port]
    return ProcessSpec(argv, {"MASTERJOB_DATABASE_URL": URL})


def main() -> None:
    with set_up_demonstration("make run", __doc__, RUN_DIRECTORY) as demo:
        ports = [str(port) for port in free_ports(3)]
        print(format_guide(ports), flush=True)
        names = [f"controller-{port}" for port in ports]
        demo.run(
            names, controller_process, "{name} (pid {pid}) has ended; another starts", MasterPrinter(URL, LOCK)
        )


if __name__ == "__main__":
    main()
