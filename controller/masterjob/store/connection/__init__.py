"""Bounded connections: no call to a database blocks longer than its timeout.

    dialect.py     what differs between the databases: the base class
    dialects.py    the dialect of each database
    incarnation.py how each kind of server names its history of commits
    connection.py  a connection that opens when needed and is dropped after any error
    physical.py    one open driver connection
    sqlite_file.py the files of an SQLite database, and whether they are still those that were opened
    dialling.py    opens one of them at any of several addresses, within one timeout
    addresses.py   looks up the addresses of a host
    target.py      what a URL names, and how it may change while the process runs
    url.py         the text of a URL, split into its parts
    options.py     the options of a URL, checked by the driver without a connection
    tls.py         the words for TLS of other clients
    pool.py        one connection that stays open for some seconds
    refusals.py    what an error of a driver means: an outage, a refusal, or one statement that failed
    outages.py     the log of a database that cannot be used
    deadlines.py   the one thread that aborts calls that take too long

What must not be here: statements of the protocol.
"""
