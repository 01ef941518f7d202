"""Recorded series for the tests of the alerts: real controllers on a real PostgreSQL, with a fault, scraped.

python -m tests.alerts          record everything again: some ten minutes

scenarios.py    what happens to the controllers, and which alerts fire when
controllers.py  the controllers, each behind a proxy
recording.py    their metrics over time, in the notation of promtool
"""
