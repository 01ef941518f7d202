"""What this process has in the elections: its part on each database, its handles, and its own end.

    identity.py  who an instance is
    instance.py  the part on one database: its locks, and why it is not their master
    handle.py    the part in one lock, as a library user holds it
    runtime.py   all of that, and the order in which it ends, which is the same however that comes
    sigterm.py   the signal that asks for the end, and what a forked child has of it

What must not be here: decisions of the election, what a job is, where settings come from, the control API.

Source: design sections 3.4, 5 and 6.
"""
