"""Where it is written: the election's port to the database, on PostgreSQL, MariaDB/MySQL and SQLite.

In this room, and nowhere else, are SQLAlchemy, the drivers, the migrations and SQL. Every verb of the
protocol is one autocommit statement on the database's own clock, and its affected rows are the answer; the
only transaction is the switch that people use. An outcome that is not known is `StoreUnavailable`, never a
guess.

What must not be here: any decision of the election (when to renew, whom to evict, what to claim), threads of
the election, configuration, logs with a password in them.

Source: design sections 3.1, 3.2, 3.5 and 3.6.
"""
