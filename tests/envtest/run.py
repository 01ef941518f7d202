"""What `make run-kube` starts on this machine: etcd, an API server, three operators, and the samples of crds/."""

import signal

if __name__ == "__main__":  # until something is started, Ctrl-C needs no cleanup, and no traceback of an import
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import contextlib
import shlex
import shutil
import sys
from pathlib import Path

import yaml

from examples import demonstration as demo
from tests.envtest.control_plane import ControlPlane
from tests.envtest.programs import find_program

ROOT = Path(__file__).parent.parent.parent
RUN_DIR = ROOT / ".run-kube"
ADMIN_KUBECONFIG = RUN_DIR / "kubeconfig"
CONFIG = "examples/kubernetes/config.yaml"
MANIFEST = ROOT / "deploy" / "rbac" / "operator.yaml"
OPERATOR_RULES = tuple(
    rule for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "Role" for rule in each["rules"]
)
"""The rights of an operator, as in the manifest for users."""
PODS = ("pod-a", "pod-b", "pod-c")
OPERATOR = (sys.executable, "-m", "masterjob", "operator")
URL = f"sqlite:///{RUN_DIR}/demo.sqlite3"
LOCKS = ("REPORT", "MAIL-QUEUE")
"""The locks of the MasterJobs in crds/samples that are enabled."""

GUIDE = """
Three operators follow the MasterJobs of the namespace default on a real API server, as in three pods. Try this in
another terminal:

  export KUBECONFIG={kubeconfig} PATH={path}:$PATH

  kubectl get mj
  kubectl get mj report -o yaml
  kubectl patch mj report --type merge -p '{{"spec":{{"enabled":false,"disabledReason":"trying it out"}}}}'
  kubectl patch mj report --type merge -p '{{"spec":{{"enabled":true}}}}'
  kubectl wait --for=condition=Ready mj/report
  kubectl events --for mj/report
  kubectl explain mj.spec
  kill -9 PID     of the master: another takes over when its lease has expired (24 s here)

The control API of the first operator is at http://localhost:{port}/explorer.

Ctrl-C ends all.
"""


def operator(pod: str, port: int, kubeconfig: Path) -> demo.ProcessSpec:
    return demo.ProcessSpec(
        [*OPERATOR, "--kubeconfig", str(kubeconfig), "--config", CONFIG, "--port", str(port)],
        {"MASTERJOB_DATABASE_URL": URL, "POD_NAME": pod, "POD_IP": "127.0.0.1", "NODE_NAME": "here"},
    )


def guide(kubeconfig: Path, path: Path, port: int) -> str:
    """Return the commands to try, quoted for a shell: the path may contain spaces."""
    return GUIDE.format(kubeconfig=shlex.quote(str(kubeconfig)), path=shlex.quote(str(path)), port=port)


def prepare(plane: ControlPlane) -> Path:
    """Apply the CRD and the samples; return the kubeconfig of the operators."""
    shutil.copy(plane.kubeconfig, ADMIN_KUBECONFIG)
    plane.kubectl("apply", "-f", "crds/masterjobs.yaml")
    plane.kubectl("wait", "--for=condition=established", "crd/masterjobs.masterjob.io")
    plane.kubectl("apply", "-f", "crds/samples/")
    return plane.kubeconfig_for("masterjob", *OPERATOR_RULES)


def main() -> None:
    with (
        demo.set_up_demonstration("make run-kube", __doc__, RUN_DIR) as running_demo,
        contextlib.ExitStack() as stack,
    ):
        with running_demo.signals.interruptible():
            plane = ControlPlane()
            stack.callback(plane.stop)
            plane.start()
            operator_kubeconfig = prepare(plane)
        ports = dict(zip(PODS, demo.free_ports(len(PODS)), strict=True))
        print(guide(ADMIN_KUBECONFIG, find_program("kubectl").parent, ports[PODS[0]]), flush=True)

        def command(pod: str) -> demo.ProcessSpec:
            return operator(pod, ports[pod], operator_kubeconfig)

        running_demo.run(PODS, command, "{name} has ended; it is restarted", demo.MasterPrinter(URL, *LOCKS))


if __name__ == "__main__":
    main()
