"""The database servers of a test run, reported at its end."""

server_outcomes: dict[str, str] = {}
"""By the name of the server. Each xdist worker has its own and sends it to the controller."""
