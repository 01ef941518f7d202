"""The operator: MasterJobs of a Kubernetes cluster, followed in every pod; elections for their locks.

What the command `run` does on files this does on resources, through the same controller.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from masterjob.app.library import current_runtime
from masterjob.cli.api_options import ApiOptions
from masterjob.cli.bootstrap import Bootstrap
from masterjob.cli.log import LogOptions
from masterjob.cli.options import DatabaseOptions, option
from masterjob.cli.signals import ShutdownSignals

OPERATOR_HELP = """Follow the MasterJobs of a Kubernetes cluster, and take part in the election of their locks.

\b
  masterjob operator --database postgresql://…                 the pod's own namespace
  masterjob operator --namespace a --namespace b               two namespaces
  masterjob operator --all-namespaces                          all of them
  masterjob operator --kubeconfig ~/.kube/config               from outside of the cluster

Run it in every pod: each of them follows the resources, and one of them is master of each. The status of a
MasterJob says who is, or why nobody is. What the jobs are is said by the config file, as for the command run. In a
pod the service account is used, and POD_NAME, POD_UID, POD_IP, NODE_NAME and CONTAINER_NAME say which pod it is.
SIGTERM or Ctrl-C stops the jobs, releases the locks and ends with 0.
"""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster, and which MasterJobs of it."""

    namespaces: Annotated[
        list[str] | None,
        option(
            "--namespace",
            "-n",
            metavar="NAME",
            text="A namespace whose MasterJobs are followed; several are possible. Default: the pod's own.",
        ),
    ] = None
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Follow the MasterJobs of all namespaces.")
    ] = False
    kubeconfig: Annotated[
        str | None,
        option(
            metavar="FILE",
            text="How to reach the cluster; default: the pod's service account, else KUBECONFIG or "
            "~/.kube/config.",
        ),
    ] = None
    context: Annotated[str | None, option(metavar="NAME", text="Which context of the kubeconfig.")] = None
    cluster_name: Annotated[
        str | None,
        option(
            "--cluster",
            metavar="NAME",
            text="What the cluster is called in the database; default: a fingerprint of its certificate "
            "authority.",
        ),
    ] = None


def operator(cluster: ClusterOptions, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
    """Run until a signal comes."""
    from masterjob.app.kube_auth import KubeAuthenticator  # noqa: PLC0415
    from masterjob.app.operator import Operator  # noqa: PLC0415 - kopf takes a second to import
    from masterjob.kube.cluster import resolve_cluster  # noqa: PLC0415 - kopf takes a second to import

    bootstrap = Bootstrap(database, log, api)
    target_cluster = resolve_cluster(
        cluster.kubeconfig,
        cluster.context,
        cluster.namespaces or (),
        all_namespaces=cluster.all_namespaces,
        cluster_name=cluster.cluster_name,
    )
    kube_operator = Operator(current_runtime(), bootstrap.settings_for, bootstrap.jobs, target_cluster)
    signals = ShutdownSignals()
    bootstrap.log_startup("masterjob operator", target_cluster.description)
    control_api = bootstrap.start_control_api(
        [kube_operator.check_resources_listed, kube_operator.check_database_reached],
        KubeAuthenticator(target_cluster, kube_operator.resources_of),
    )
    kube_operator.start()
    reason = signals.wait()
    kube_operator.close(reason)
    control_api.close()
