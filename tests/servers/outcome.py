"""Which servers a test run has had: a sentence each, said at its end."""

server_outcomes: dict[str, str] = {}
"""By the name of the server; each process of a run has its own, and sends it home."""
