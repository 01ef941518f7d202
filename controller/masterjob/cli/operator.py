"""The operator: MasterJobs of a Kubernetes cluster, followed in every pod; elections for their locks.

What the command `run` does on files this does on resources, through the same controller.
"""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from masterjob.cli import serving
from masterjob.cli.logs import LogFormat, LogLevel, set_up
from masterjob.cli.options import ConfigFile, DatabaseUrl, options_of, switchboard_of
from masterjob.cli.run import Signals
from masterjob.controller.catalogue import known_jobs
from masterjob.main import this_process
from masterjob.masking import masked
from masterjob.settings import Settings, config_document, resolve

logger = logging.getLogger("masterjob")

HELP = """Follow the MasterJobs of a Kubernetes cluster, and take part in the election of their locks.

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

Namespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="A namespace whose MasterJobs are followed; several are possible. Default: the pod's own.",
        show_default=False,
    ),
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="Follow the MasterJobs of all namespaces.")
]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="How to reach the cluster; default: the pod's service account, else KUBECONFIG or ~/.kube/config.",
        show_default=False,
    ),
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="Which context of the kubeconfig.", show_default=False),
]
ClusterName = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        help="What the cluster is called in the database; default: a fingerprint of its certificate authority.",
        show_default=False,
    ),
]


def operator(  # noqa: PLR0913, PLR0917 - the options of a command
    namespace: Namespaces = None,
    all_namespaces: AllNamespaces = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    cluster: ClusterName = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    log_format: Annotated[LogFormat, typer.Option(help="How a line of the log looks.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on lines are written.")] = LogLevel.INFO,
    host: serving.Host = None,
    port: serving.Port = None,
    no_api: serving.NoApi = False,
    auth: serving.Who = None,
    tokens: serving.Tokens = None,
    tls_cert: serving.TlsCert = None,
    tls_key: serving.TlsKey = None,
    allowed_host: serving.AllowedHost = None,
    probe_port: serving.ProbePort = None,
    probe_host: serving.ProbeHost = None,
) -> None:
    """Run until a signal comes."""
    from masterjob.kube.cluster import cluster_of  # noqa: PLC0415 - kopf takes a second to import
    from masterjob.operator import Operator  # noqa: PLC0415 - kopf takes a second to import
    from masterjob.reviewer import ClusterReviewer  # noqa: PLC0415

    listening = serving.Options(
        host, port, no_api, auth, tokens, tls_cert, tls_key, allowed_host, probe_port, probe_host
    )
    set_up(log_format, log_level)
    sys.path.append(str(Path.cwd()))  # Python jobs may be modules of the folder that this is started in
    document = config_document(os.environ, config)

    def settings(options: Mapping[str, object]) -> Settings:
        return resolve({**options_of(database), **options}, os.environ, document)

    jobs = known_jobs(document)
    where = cluster_of(kubeconfig, context, namespace or (), everywhere=all_namespaces, name=cluster)
    this = Operator(this_process(), settings, jobs, where)
    signals = Signals()
    logger.info(
        "masterjob operator (pid %s) follows %s on %s; jobs: %s",
        os.getpid(),
        where.shown,
        masked(settings({}).database),
        ", ".join(sorted(jobs)) or "none",
    )
    reviewer = ClusterReviewer(where, this.resources_of)
    api = serving.begin(
        listening, document, lambda: switchboard_of(database, config), [this.unlisted, this.unreached], reviewer
    )
    this.status.counted = api.metrics.status_written
    this.start()
    number = signals.wait()
    logger.info("%s: stopping the jobs and releasing the locks", number.name)
    this.close(number.name)
    api.close()
