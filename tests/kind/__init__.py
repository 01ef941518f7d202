"""A kind cluster on this machine: `make kind` creates it, `kind-test` tests it, `kind-delete` deletes it."""
