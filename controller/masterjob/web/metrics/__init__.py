"""What is counted for Prometheus.

    observer.py  the observer that counts the steps of the elections
    jobs.py      the metrics of a job's life
    series.py    the metrics by name, unit and label, and their rendering

What must not be here: anything that calls a database or blocks a step of the election.
"""
