"""What is counted for Prometheus.

    observer.py  an observer of the election that turns its steps into numbers
    series.py    the numbers by name, unit and label
    reasons.py   why a term ended, as one of a few words; labels.py bounds what is counted by

What must not be here: anything that asks a database. Counting holds up no step of the election.
"""
