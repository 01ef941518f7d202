"""How what is wanted comes to be: resources in, elections out, the same for files and for Kubernetes.

    controller.py     is told what resources say, and works until it is so
    ownership.py        who speaks for each lock; the oldest counts
    switches.py       tells the database first
    locks.py  then this process's part in the election
    problems.py       what cannot be done is told once
    workqueue.py      what fails is tried again, and holds up no other lock

What must not be here: where resources come from, SQL, what a job is.

Source: design sections 3.2, 6.1 and 6.2.
"""
