"""End-to-end tests: the image and the chart in a real cluster, with a PostgreSQL in it. On kind: `make kind-test`.

Any cluster works; with a single node, the drain test is skipped:

    MASTERJOB_E2E_KUBECONFIG=~/.kube/config MASTERJOB_E2E_IMAGE=registry/masterjob:0.1.0 \\
        .venv/bin/python -m pytest tests/e2e

MASTERJOB_E2E_POSTGRES_IMAGE names a PostgreSQL image other than postgres:17-alpine, with the same variables. The
tests use their own namespace, and remove it and their cluster-scoped objects at the end. A definition of MasterJob
that exists already is used, and stays. The kubeconfig needs the rights for all this, and for a pod that sees the
processes of its node.

The job (`sample`) records twice per second that it runs; `record` checks its rows.
"""
