"""End to end: the image and the chart in a real cluster, with a PostgreSQL in it. On kind: `make kind-test`.

Any cluster will do, also one of a single node, where the drain is skipped:

    MASTERJOB_E2E_KUBECONFIG=~/.kube/config MASTERJOB_E2E_IMAGE=registry/masterjob:0.1.0 \\
        .venv/bin/python -m pytest tests/e2e

MASTERJOB_E2E_POSTGRES_IMAGE names another PostgreSQL image than postgres:17-alpine, with the same variables. All
is done in a namespace of its own, which goes in the end, and what was made of the cluster too; a definition of
MasterJob that was there before is used, and stays. The kubeconfig is one that may do all that, and run a pod that
sees the processes of its node.

The job (`sample`) writes down twice a second that it runs; `record` judges what it has written.
"""
