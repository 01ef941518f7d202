"""Bounded connections: no call to a database blocks longer than its timeout.

    dialects.py    what differs between the databases
    connection.py  a connection that opens when needed and is dropped after any error
    physical.py    one open driver connection, and the thread that opens it
    pool.py        one connection that stays open for some seconds
    refusals.py    what an error of a driver means: an outage, a refusal, or one statement that failed
    outages.py     the log of a database that cannot be used
    deadlines.py   the one thread that aborts calls that take too long

What must not be here: statements of the protocol.
"""
