"""Leader election through a SQL database: which instance is master of a lock, and for how long it may act as one.

Many instances want a lock. The database decides which of them holds it, and each instance decides on its own clock
how long it can rely on that.

An *instance* is one running process. It keeps one *session* in the database for each timing that its locks have,
and renews it every heartbeat interval. Holding a lock means that the lock's row refers to such a session. One
period of holding is a *term*; its number only grows, which makes it a fencing token.

For each lock an instance is in one of two states::

                    a claim was granted, and the trust is still good
          +-----------+ ------------------------------------> +--------+
          | CANDIDATE |                                       | MASTER |
          +-----------+ <------------------------------------ +--------+
                         the job has stopped, the lock is released

A candidate waits for a vacancy, takes its fair share, and claims. A master runs the job until there is a reason
not to; then it stops the job, and then it releases the lock.

Trust::

    margin        = stop timeout + 2 % of the lease
    trusted until = renewal sent + lease - margin
    required      : lease - margin >= 2 * heartbeat interval

The trust counts from when the renewal was *sent*, on a clock that also runs while the machine sleeps. The margin
gives the job its whole stop timeout before the database would let another instance in; the 2 % are for clocks that
run at different speeds. The inequality allows for one late heartbeat; `timing.Timing` enforces it.

What happens on failures:

- **A heartbeat fails.** It is retried on a fresh connection while the trust lasts, up to a number of times. When
  the retries or the trust are used up, the job is stopped without asking the database.
- **A call gets no answer.** It may have been executed or not. It is retried, or the next inventory shows: with
  every heartbeat the instance compares what the database records for it with what it expects. It adopts nothing,
  releases what it does not run, and stops what it does not hold.
- **A master dies.** A candidate evicts its session after the lease has passed without a heartbeat. It watches the
  heartbeat's counter on its own clock, so a clock that jumps evicts no session.
- **The process is paused.** Afterwards the clock is considered before anything else, so the job is stopped if the
  trust is over. A term is never revived.
- **A call or a thread hangs.** Other threads call the database and the jobs, so the elector can always decide. A
  watchdog acts at the end of the trust even if the elector's thread is blocked.
- **The job's stop takes too long.** The lock is kept while the session lives. If the lease ends before the job has
  stopped, the lost policy decides: log it, or end the process.

What is not guaranteed: if a process is frozen for longer than the margin, if a stop takes longer than its timeout,
or if the database loses what it confirmed, two jobs of one lock may run for a short time. Then only fencing helps:
``term.guard`` in the job's transaction, or the term's number for any other resource.

    values.py           sessions, terms, inventories: what the election and the database exchange
    timing.py           durations, and the inequality above
    ports.py            the interfaces to the database and to jobs
    term.py             a term as its job sees it
    core/               the elector: a pure state machine
    runner.py           the threads of one instance around an elector
    workers.py          threads that execute the elector's commands
    history_writer.py   writes each transition to the history, if need be again
    job_runs.py         starts and stops the jobs
    watchdog.py         acts at the end of a trust or a lease, even if other threads hang
    observers.py        publishes each step to metrics, health and status
    transition_log.py   writes each step to the log

What must not be here: SQL, configuration, Kubernetes, HTTP, user code, any package outside the standard library.
Docs for users: ``docs/protocol.md``.
"""
