"""Where the API server is, and who we are there: a pod's service account, or a kubeconfig.

One `ClusterConfig` serves the official client and kopf alike. A service account's token is read from its file
at every request, since the kubelet replaces it.

What must not be here: requests.

Source: design sections 6.2 and 6.5.
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
"""What the official client calls the header of its token, which is the only way in that it knows."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A way to one API server."""

    configuration: client.Configuration = field(repr=False)
    cluster_id: str
    """The same text for everybody in this cluster, and another one elsewhere."""
    namespace: str | None
    """The namespace that we are in, if that is known."""

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.configuration.host)

    def authorization_header(self) -> str | None:
        """Return the header with the token of this moment; None where a certificate says who we are.

        Raises:
            OSError: the token's file cannot be read.
        """
        return self.configuration.get_api_key_with_prefix(_API_KEY_NAME)


def load_config(
    kubeconfig: str | None,
    context: str | None,
    environ: Mapping[str, str] = os.environ,
    folder: Path = SERVICE_ACCOUNT_DIR,
) -> ClusterConfig:
    """Return the way to the API server: what is named, else the pod's service account, else the usual kubeconfig.

    Raises:
        SettingError: there is none, or it cannot be used; the message says what would do.
    """
    if not (kubeconfig or context) and environ.get("KUBERNETES_SERVICE_HOST") and (folder / "token").exists():
        return load_in_cluster(environ, folder)
    return load_kubeconfig(kubeconfig, context, environ)


def load_in_cluster(environ: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT_DIR) -> ClusterConfig:
    """Return the way that a pod has by its service account.

    Raises:
        SettingError: this is no pod, or none with a service account.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SettingError("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")
    return load_service_account(f"https://{f'[{host}]' if ':' in host else host}:{port}", folder)


def load_service_account(server: str, folder: Path) -> ClusterConfig:
    """Return the way to ``server`` by the files of a service account: token, ca.crt and namespace.

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
        raise SettingError(f"{error.filename} cannot be read: {error.strerror}; it is the pod's own") from None
    configuration.refresh_api_key_hook = refresh_token  # type: ignore[assignment]  # it is declared as None
    return ClusterConfig(configuration, cluster_id, namespace)


def load_kubeconfig(
    path: str | None = None, context: str | None = None, environ: Mapping[str, str] = os.environ
) -> ClusterConfig:
    """Return the way that a kubeconfig describes; with no path that of KUBECONFIG, or ~/.kube/config.

    Tokens, client certificates and exec plugins are the official client's business.

    Raises:
        SettingError: there is no such file or context, or it says what cannot be.
    """
    paths = path or environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(each).expanduser().exists() for each in paths.split(os.pathsep) if each):
        prefix = "" if path else "no cluster is named and this is no pod: "
        raise SettingError(f"{prefix}kubeconfig {paths} does not exist (--kubeconfig, KUBECONFIG)")
    configuration = client.Configuration()
    try:
        _load_kube_config(paths, context, configuration, persist_config=False)
        contexts, current = _list_contexts(paths)
    except yaml.YAMLError:
        raise SettingError(f"kubeconfig {paths} is not YAML") from None  # its own words may quote a token
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(f"kubeconfig {paths} cannot be used: {error}") from None
    selected = next((each for each in contexts if each["name"] == context), current)
    ca_file = configuration.ssl_ca_cert
    cluster_id = _fingerprint(Path(ca_file).read_bytes()) if ca_file else ""
    return ClusterConfig(configuration, cluster_id, (selected.get("context") or {}).get("namespace"))


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate.strip()).hexdigest()[:12]
