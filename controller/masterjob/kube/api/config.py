"""The address of the API server and the credentials, from a pod's service account or a kubeconfig.

One `ClusterConfig` serves both the official client and kopf. The token of a service account is read from its file
before every request, because the kubelet replaces it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from masterjob.errors import SettingError

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_load_kube_config: Callable[..., None] = config.load_kube_config
_list_contexts: Callable[..., tuple[Any, Any]] = config.list_kube_config_contexts
_API_KEY_NAME = "BearerToken"
"""The official client's name for the header with the token."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The address and credentials of one API server."""

    configuration: client.Configuration = field(repr=False)
    cluster_id: str
    """The identifier of the cluster, the same for all of its clients; empty if unknown."""
    namespace: str | None
    """The namespace of this pod or kubeconfig context, if known."""

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.configuration.host)

    def authorization_header(self) -> str | None:
        """Return the Authorization header with the current token, or None if a client certificate is used.

        Raises:
            OSError: the token file cannot be read.
        """
        return self.configuration.get_api_key_with_prefix(_API_KEY_NAME)


def load_config(
    kubeconfig: str | None,
    context: str | None,
    environ: Mapping[str, str] = os.environ,
    folder: Path = SERVICE_ACCOUNT_DIR,
) -> ClusterConfig:
    """Load the named kubeconfig or context, else the pod's service account, else the default kubeconfig.

    Raises:
        SettingError: there is none, or it cannot be used.
    """
    if not (kubeconfig or context) and environ.get("KUBERNETES_SERVICE_HOST") and (folder / "token").exists():
        return load_in_cluster(environ, folder)
    return load_kubeconfig(kubeconfig, context, environ)


def load_in_cluster(environ: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT_DIR) -> ClusterConfig:
    """Load the service account of the pod that this process runs in.

    Raises:
        SettingError: this process does not run in a pod, or the pod has no service account.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SettingError("KUBERNETES_SERVICE_HOST is not set: this process does not run in a pod")
    return load_service_account(f"https://{f'[{host}]' if ':' in host else host}:{port}", folder)


def load_service_account(server: str, folder: Path) -> ClusterConfig:
    """Load the files of a service account for ``server``: token, ca.crt and namespace.

    Raises:
        SettingError: one of the files cannot be read.
    """
    token_file, ca_file = folder / "token", folder / "ca.crt"
    configuration = client.Configuration(host=server, ssl_ca_cert=str(ca_file))

    def refresh_token(target: client.Configuration) -> None:
        target.api_key[_API_KEY_NAME] = f"Bearer {token_file.read_text().strip()}"

    try:
        refresh_token(configuration)
        cluster_id = _fingerprint(ca_file.read_bytes())
        namespace = (folder / "namespace").read_text().strip() or None
    except OSError as error:
        raise SettingError(f"the pod's {error.filename} cannot be read: {error.strerror}") from None
    configuration.refresh_api_key_hook = refresh_token  # type: ignore[assignment]  # declared as None
    return ClusterConfig(configuration, cluster_id, namespace)


def load_kubeconfig(
    path: str | None = None, context: str | None = None, environ: Mapping[str, str] = os.environ
) -> ClusterConfig:
    """Load a kubeconfig; without a path, that of KUBECONFIG, or ~/.kube/config.

    The official client handles tokens, client certificates and exec plugins.

    Raises:
        SettingError: there is no such file or context, or it is invalid.
    """
    paths = path or environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(each).expanduser().exists() for each in paths.split(os.pathsep) if each):
        prefix = "" if path else "no cluster is given, and this process does not run in a pod: "
        raise SettingError(f"{prefix}kubeconfig {paths} does not exist (--kubeconfig, KUBECONFIG)")
    configuration = client.Configuration()
    try:
        _load_kube_config(paths, context, configuration, persist_config=False)
        contexts, current = _list_contexts(paths)
    except yaml.YAMLError:
        raise SettingError(f"kubeconfig {paths} is not YAML") from None  # the original message may contain a token
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(f"kubeconfig {paths} cannot be used: {error}") from None
    selected = next((each for each in contexts if each["name"] == context), current)
    ca_file = configuration.ssl_ca_cert
    cluster_id = _fingerprint(Path(ca_file).read_bytes()) if ca_file else ""
    return ClusterConfig(configuration, cluster_id, (selected.get("context") or {}).get("namespace"))


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate.strip()).hexdigest()[:12]
