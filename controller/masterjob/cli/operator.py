"""``masterjob operator``: follow the MasterJobs of a cluster until a signal arrives."""

from dataclasses import dataclass
from typing import Annotated

import typer

from masterjob.cli.api_options import ApiOptions
from masterjob.cli.bootstrap import Bootstrap, wait_for_end
from masterjob.cli.log import LogOptions
from masterjob.cli.options import DatabaseOptions, option
from masterjob.cli.signals import ShutdownSignals
from masterjob.runtime.runtime import current_runtime

OPERATOR_HELP = """Follow the MasterJobs of a Kubernetes cluster; run their jobs.

\b
  masterjob operator --database postgresql://...    the pod's namespace
  masterjob operator --namespace a --namespace b    two namespaces
  masterjob operator --all-namespaces               all namespaces
  masterjob operator --kubeconfig ~/.kube/config    from outside the cluster

Run it in every pod. All pods follow the MasterJobs, and one of them is elected master of each. The status of
a MasterJob shows which one, or why none is. The config file defines the jobs, as for "masterjob run".

In a pod, the service account is used, and POD_NAME, POD_UID, POD_IP, NODE_NAME and CONTAINER_NAME identify the
pod. SIGTERM, SIGHUP or Ctrl-C stops the jobs, releases the locks and exits with code 0.

A database that is down is waited for. If it refuses this process at the start, such as for a wrong password, the
exit code is 1.
"""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The options that select the cluster and its MasterJobs."""

    namespaces: Annotated[
        list[str] | None,
        option(
            "--namespace",
            "-n",
            metavar="NAME",
            text="Follow the MasterJobs of this namespace; repeatable. Default: the pod's own.",
        ),
    ] = None
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Follow the MasterJobs of all namespaces.")
    ] = False
    kubeconfig: Annotated[
        str | None,
        option(
            metavar="FILE",
            text="Default: the pod's service account, else KUBECONFIG or ~/.kube/config.",
        ),
    ] = None
    context: Annotated[
        str | None, option(metavar="NAME", text="The context of the kubeconfig. Default: its current one.")
    ] = None
    cluster_name: Annotated[
        str | None,
        option(
            "--cluster",
            metavar="NAME",
            text="The cluster's name in the database. Default: a fingerprint of its certificate authority.",
        ),
    ] = None


def operator(cluster: ClusterOptions, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
    """Run until a signal arrives."""
    from masterjob.app.kube_auth import KubeAuthenticator  # noqa: PLC0415 - kopf takes a second to import
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
    runtime = current_runtime()
    kube_operator = Operator(runtime, bootstrap.settings_for, bootstrap.jobs, target_cluster)
    signals = ShutdownSignals()
    bootstrap.end_if_refused(signals)
    bootstrap.log_startup("masterjob operator", target_cluster.description)
    bootstrap.start_control_api(
        [kube_operator.check_resources_listed, kube_operator.check_database_reached],
        KubeAuthenticator(target_cluster, kube_operator.resources_of),
    )
    kube_operator.start()
    wait_for_end(signals)
