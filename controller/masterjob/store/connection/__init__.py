"""Bounded connections: no call to a database blocks longer than its timeout.

dialects.py    what differs between the databases
connection.py  a connection that opens when needed and is dropped after any error
physical.py    one open driver connection, and the thread that opens it
deadlines.py   the one thread that aborts calls that take too long
"""
