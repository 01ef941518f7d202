"""Where it is written: the election's port to the database, on PostgreSQL, MariaDB/MySQL and SQLite.

In this room, and nowhere else, are SQLAlchemy, the drivers, the migrations and SQL. Every verb of the
protocol is one autocommit statement on the database's own clock, and its affected rows are the answer; the
only transaction is the switch that people use. An outcome that is not known is `StoreUnavailable`, never a
guess.

    database.py     the database by its URL: where the rest of the program gets all this from
    queries/        the statements of the protocol, by the table that they are about
    admin.py        what people do with locks, each call on a connection of its own
    fencing.py      the check inside a job's own transaction
    notifier.py     how instances wake one another
    schema.py       the tables, brought up to date by whoever comes first (migrations/)
    connection/     a line to the database that never holds anybody up, and what differs between databases

What must not be here: any decision of the election (when to renew, whom to evict, what to claim), threads of
the election, configuration, logs with a password in them.

Source: design sections 3.1, 3.2, 3.5 and 3.6.
"""
