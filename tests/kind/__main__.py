"""The commands behind `make kind`, `make kind-test` and `make kind-delete`.

    python -m tests.kind create | test | delete

They need a Docker engine, kind, kubectl and Helm, and report which of them is missing. Environment variables:

    KIND_NODE_IMAGE     the node image; default: kind's own, which is pulled
    POSTGRES_IMAGE      default: postgres:17-alpine, which is pulled if it is not on this machine
    KIND_CONFIG         default: kind-config.yaml, one control plane and two workers
    BASE                the base image of our image
    IMAGE               an existing image of ours; then none is built

The kubeconfig is a separate file: your ~/.kube/config is not touched.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.envtest.programs import find_program
from tests.servers import Unavailable

ROOT = Path(__file__).parents[2]
RUN_DIR = ROOT / ".run-kind"
KUBECONFIG = RUN_DIR / "kubeconfig"
CLUSTER_NAME = "masterjob"
IMAGE = os.environ.get("IMAGE") or "masterjob:kind"
POSTGRES_IMAGE = os.environ.get("POSTGRES_IMAGE") or "postgres:17-alpine"

GUIDE = """
Three pods are in the namespace masterjob, on PostgreSQL, with three jobs. Try this, in any terminal:

  export KUBECONFIG={kubeconfig}; kubectl config set-context --current --namespace masterjob

  kubectl get mj                                    # the masters
  kubectl get pods -o wide
  kubectl patch mj alpha --type merge -p '{{"spec":{{"enabled":false,"disabledReason":"trying it out"}}}}'
  kubectl get mj alpha -o yaml                      # shows why it does not run
  kubectl patch mj alpha --type merge -p '{{"spec":{{"enabled":true}}}}'
  kubectl delete pod $(kubectl get mj alpha -o jsonpath='{{.status.master.pod}}')
  kubectl drain masterjob-worker --delete-emptydir-data --pod-selector app.kubernetes.io/name=masterjob
  kubectl uncordon masterjob-worker
  kubectl port-forward svc/masterjob 3000           # the API; explorer: http://localhost:3000/explorer

  make kind-test       run the end-to-end tests, in their own namespace
  make kind-delete     delete the cluster
"""


def main(arguments: Sequence[str]) -> None:
    commands = {"create": create, "test": test, "delete": delete}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.exit(__doc__)
    require_tools()
    commands[arguments[0]]()


# --- requirements


def require_tools() -> None:
    """Report all missing tools at once, and how to get them."""
    missing = [
        text for text in (_missing_engine(), _missing_kind(), *map(_missing_tool, ("kubectl", "helm"))) if text
    ]
    if missing:
        sys.exit("\n".join(["kind: missing on this machine:", *(f"  - {text}" for text in missing)]))


def _missing_engine() -> str | None:
    if shutil.which("docker") is None:
        return "Docker: the command docker is not on the PATH (https://docs.docker.com/engine/install)"
    result = subprocess.run(["docker", "info"], check=False, capture_output=True, text=True)
    if result.returncode == 0:
        return None
    return f"a Docker engine: {(result.stderr.strip().splitlines() or ['it does not respond'])[-1]}"


def _missing_kind() -> str | None:
    if shutil.which("kind") is not None:
        return None
    return "kind: go install sigs.k8s.io/kind@v0.31.0 (https://kind.sigs.k8s.io), and add it to the PATH"


def _missing_tool(name: str) -> str | None:
    with contextlib.suppress(Unavailable):
        find_program(name)
        return None
    return None if shutil.which(name) else f"{name}: run `make envtest`, which installs it"


# --- commands


def create() -> None:
    """Create the cluster and install the release; an existing cluster is reused, an existing release upgraded."""
    create_cluster()
    load_images()
    cluster = Cluster(KUBECONFIG, "masterjob", IMAGE, POSTGRES_IMAGE)
    cluster.create_namespace()
    _log("starting PostgreSQL")
    cluster.start_database()
    _log("installing the chart")
    cluster.install()
    print(cluster.kubectl("get", "mj"))
    print(GUIDE.format(kubeconfig=KUBECONFIG))


def test() -> None:
    """Run the end-to-end tests on the cluster; create it if needed."""
    create_cluster()
    load_images()
    variables = {
        "MASTERJOB_E2E_KUBECONFIG": str(KUBECONFIG),
        "MASTERJOB_E2E_IMAGE": IMAGE,
        "MASTERJOB_E2E_POSTGRES_IMAGE": POSTGRES_IMAGE,
    }
    command = [sys.executable, "-m", "pytest", "tests/e2e", "-v"]
    sys.exit(subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, **variables}).returncode)


def delete() -> None:
    """Delete the cluster and its kubeconfig."""
    _run("kind", "delete", "cluster", "--name", CLUSTER_NAME, "--kubeconfig", str(KUBECONFIG))
    shutil.rmtree(RUN_DIR, ignore_errors=True)


def create_cluster() -> None:
    """Create the cluster unless it exists."""
    RUN_DIR.mkdir(exist_ok=True)
    listed = subprocess.run(["kind", "get", "clusters"], check=True, capture_output=True, text=True).stdout
    if CLUSTER_NAME in listed.split():
        _run("kind", "export", "kubeconfig", "--name", CLUSTER_NAME, "--kubeconfig", str(KUBECONFIG))
        return
    _log("creating a cluster")
    node = os.environ.get("KIND_NODE_IMAGE")
    image = ["--image", node] if node else []
    config = os.environ.get("KIND_CONFIG") or str(ROOT / "kind-config.yaml")
    arguments = ["create", "cluster", "--name", CLUSTER_NAME, "--config", config, *image, "--wait", "180s"]
    try:
        _run("kind", *arguments, "--kubeconfig", str(KUBECONFIG))
    except subprocess.CalledProcessError:
        described_image = node or "kind's default"
        advice = (
            f"if the node image ({described_image}) cannot be pulled, set KIND_NODE_IMAGE to one on this machine"
        )
        sys.exit(f"kind: the cluster could not be created, see above; {advice}")


def load_images() -> None:
    """Build our image, and load it and the PostgreSQL image into the nodes."""
    if not os.environ.get("IMAGE"):
        _log("building the image")
        base = ["--build-arg", f"BASE={os.environ['BASE']}"] if os.environ.get("BASE") else []
        _run("docker", "build", "--tag", IMAGE, *base, str(ROOT))
    here = subprocess.run(["docker", "image", "inspect", POSTGRES_IMAGE], check=False, capture_output=True)
    if here.returncode:
        _run("docker", "pull", POSTGRES_IMAGE)
    for image in (IMAGE, POSTGRES_IMAGE):
        _run("kind", "load", "docker-image", image, "--name", CLUSTER_NAME)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def _log(step: str) -> None:
    print(f"kind: {step}", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"kind: {' '.join(map(str, error.cmd))} failed, see above")
