"""What `make run-kube` starts on this machine: etcd, an API server, three operators, and the samples of crds/."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import yaml

from masterjob.election.timing import duration
from tests.envtest.control_plane import ControlPlane
from tests.envtest.programs import find

ROOT = Path(__file__).parent.parent.parent
RUN = ROOT / ".run-kube"
CONFIG = "examples/kubernetes/config.yaml"
MANIFEST = ROOT / "deploy" / "rbac" / "operator.yaml"
RIGHTS = tuple(
    rule for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "Role" for rule in each["rules"]
)
"""All that an operator may do: just what is handed out."""
PODS = ("pod-a", "pod-b", "pod-c")
OPERATOR = (sys.executable, "-m", "masterjob", "operator")
FIRST_PORT = 3000
REPLACED_AFTER = 5.0

GUIDE = """
Three operators, as three pods would, follow the MasterJobs of the namespace default on a real API server. Type, in
another terminal:

  export KUBECONFIG={kubeconfig} PATH={path}:$PATH

  kubectl get mj
  kubectl get mj report -o yaml
  kubectl patch mj report --type merge -p '{{"spec":{{"enabled":false,"disabledReason":"trying it out"}}}}'
  kubectl patch mj report --type merge -p '{{"spec":{{"enabled":true}}}}'
  kubectl wait --for=condition=Elected mj/report
  kubectl events --for mj/report
  kubectl explain mj.spec
  kill -9 PID     of the master: another takes over when its lease has passed

The control API of the first is at http://localhost:3000/explorer.

Ctrl-C ends all.
"""


def spawn(pod: str, kubeconfig: Path) -> subprocess.Popen[bytes]:
    port = str(FIRST_PORT + PODS.index(pod))
    database = f"sqlite:///{RUN}/demo.sqlite3"
    environment = {"MASTERJOB_DATABASE_URL": database, "POD_NAME": pod, "POD_IP": "127.0.0.1", "NODE_NAME": "here"}
    return subprocess.Popen(
        [*OPERATOR, "--kubeconfig", str(kubeconfig), "--config", CONFIG, "--port", port],
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def watch(operators: dict[str, subprocess.Popen[bytes]], kubeconfig: Path, until: float) -> None:
    """Replace who dies, as a deployment would."""
    died_at: dict[str, float] = {}
    while time.monotonic() < until:
        for pod, operator in operators.items():
            if operator.poll() is None:
                continue
            if pod not in died_at:
                died_at[pod] = time.monotonic()
                print(f"   {pod} has ended; it starts again in {REPLACED_AFTER:.0f} s", flush=True)
            elif time.monotonic() > died_at[pod] + REPLACED_AFTER:
                del died_at[pod]
                operators[pod] = spawn(pod, kubeconfig)
        time.sleep(0.1)


def end(operators: dict[str, subprocess.Popen[bytes]]) -> None:
    for operator in operators.values():
        operator.terminate()
    for operator in operators.values():
        try:
            operator.wait(10)
        except subprocess.TimeoutExpired:
            operator.kill()
            operator.wait()


def on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="seconds", type=duration, default=0.0, help="end by itself, like 20s")
    seconds: float = parser.parse_args().seconds
    signal.signal(signal.SIGTERM, on_sigterm)
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    operators: dict[str, subprocess.Popen[bytes]] = {}
    with ControlPlane() as plane:
        try:
            mine = RUN / "kubeconfig"
            shutil.copy(plane.kubeconfig, mine)
            plane.kubectl("apply", "-f", "crds/masterjobs.yaml")
            plane.kubectl("wait", "--for=condition=established", "crd/masterjobs.masterjob.io")
            plane.kubectl("apply", "-f", "crds/samples/")
            theirs = plane.kubeconfig_for("masterjob", *RIGHTS)
            print(GUIDE.format(kubeconfig=mine.relative_to(Path.cwd()), path=find("kubectl").parent), flush=True)
            operators |= {pod: spawn(pod, theirs) for pod in PODS}
            watch(operators, theirs, time.monotonic() + seconds if seconds else float("inf"))
        except KeyboardInterrupt:
            print()
        finally:
            end(operators)
    shutil.rmtree(RUN, ignore_errors=True)


if __name__ == "__main__":
    main()
