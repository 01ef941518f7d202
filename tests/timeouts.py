"""The bound on every wait in the tests."""

WAIT_TIMEOUT = 120.0
"""Seconds to wait for what must happen. A wait ends when its condition holds, so only a test that fails takes so
long; a busy machine may be ten times as slow as an idle one."""
