"""The command `masterjob operator` as in a pod, with the folder of its service account somewhere else.

KUBERNETES_SERVICE_HOST=… KUBERNETES_SERVICE_PORT=… python -m tests.kube.in_pod FOLDER operator …
"""

import functools
import sys
from pathlib import Path
from unittest.mock import patch

from masterjob.cli.app import app
from masterjob.kube.api import config


def main() -> None:
    folder = Path(sys.argv.pop(1))
    with patch("masterjob.kube.cluster.load_config", functools.partial(config.load_config, folder=folder)):
        app()


if __name__ == "__main__":
    main()
