"""Who is master: the election, from the standard library alone.

Many instances want a lock; the database decides who holds it; every instance decides for itself, on its own
clock, how long it may believe so.

An *instance* is one running process. It keeps one *session* in the database for each timing that its locks
have, and renews it every heartbeat interval. Holding a lock means that the lock's row points at such a
session. One period of holding is a *term*; its number only ever grows.

Each lock is in one of two states, and each state is a module::

                    a claim was granted, and the trust is still good
          +-----------+ ------------------------------------> +--------+
          | CANDIDATE |                                       | MASTER |
          +-----------+ <------------------------------------ +--------+
                         the job has stopped, the lock is released

    candidate.py   waits for a vacancy, takes its fair share, claims, and starts nothing it no longer trusts
    master.py      serves until there is a reason not to; then stops the job, then releases the lock

**Trust.** A renewal that was *sent* at ``s`` lets a master believe in its terms until
``s + lease - margin``, with ``margin = stop timeout + 2 % of the lease``: the job has its whole stop timeout
before the database would let another instance in, and 2 % are left for clocks that run at different speeds.
When the trust ends the job is stopped, whatever the database may say, and without asking it.

**Death.** A candidate never believes a clock alone. It evicts a session whose heartbeat counter it has itself
watched stand still for as long as the lease demands (``watch.py``).

**Unknown.** A call without an answer is neither granted nor lost. It is asked again while the trust lasts.
What the database holds and what the instance believes are compared with every heartbeat; where they differ
the instance adopts nothing, releases what it does not run and stops what it does not hold.

What is in this room: the words as values (``values.py``), the timing rules (``timing.py``), the ports to the
database and to the jobs (``ports.py``), a term as a job sees it (``term.py``), the elector itself, a pure state
machine (``machine/``), and the threads that give it a clock, a database and jobs (``runner.py``).

What must not be here: SQL, configuration, Kubernetes, HTTP, user code, any package that is not Python's own.
In the state machine there is no thread, no clock and no I/O either: events and a time go in, actions come out.

Source: design sections 2 and 3. The user's view of it is ``docs/protocol.md``.
"""
