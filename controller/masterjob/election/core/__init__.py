"""The elector: a pure state machine. Events and a time go in, actions come out.

What must not be here: threads, clocks, sleeping, I/O, logging. Whoever drives the machine has those:
`masterjob.election.runner` with threads and a database, the simulator in the tests with virtual time. That is
what lets one core try hundreds of thousands of faults a minute.

How to read it: `elector.py` routes every event to one of five parts, and lets the clock speak first::

    heartbeat.py    keeps one session alive for each timing: opens, renews, retries, notices the end of trust
    evictor.py      watches the sessions of others stand still, and evicts the dead (the rule is liveness.py)
    candidate.py    state one: waits for a vacancy, takes its fair share, claims
    master.py       state two: serves, stops the job, releases; compares belief and database
    retiming.py        takes a lock whose timing has changed to the session of the new timing

`events.py` is what goes in and `actions.py` what comes out, those for the database in `commands.py`; `session.py`
has the trust arithmetic, `state.py` what the instance believes.
"""
