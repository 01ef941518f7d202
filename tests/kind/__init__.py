"""A cluster on this machine by kind: made, tested and removed by `make kind`, `kind-test`, `kind-delete`."""
