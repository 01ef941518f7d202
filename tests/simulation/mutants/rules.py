"""The rules of the protocol (docs/design.md, section 3), each of which has at least one planted bug without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule, and the section that has it."""

    section: str
    sentence: str


ONE_STATEMENT = Rule(
    "3", "Each decision is one statement of the database, and the rows that it changed are the answer."
)
SENDING = Rule("3", "Trust counts from the sending of a renewal; a late reply does not extend it.")
SLEEP = Rule("3", "Trust counts on a clock that also runs while the machine sleeps.")
STOP_FIRST = Rule("3", "A lock is released after the job's stop has returned.")
NOT_CLEARED = Rule(
    "3", "A disable and a request to step down are flags: no other instance clears the lock of a live master."
)

SESSION_ID = Rule("3.1", "The id of a session is never used again.")
LEASE_OF_ROW = Rule("3.1", "The lease of the session's row counts, not that of the reader.")
HOLDER_CLEARED = Rule("3.1", "An eviction sets the holder of the session's locks to null.")
ENABLED = Rule("3.1", "A lock is enabled while no source disables it; a claim and a disable write the same row.")
STEP_DOWN_TERM = Rule("3.1", "A request to step down names its term, and ends no later one.")
VERSION = Rule("3.1", "An instance whose release does not know the version of the tables refuses to work.")

DATABASE_TIME = Rule(
    "3.2", "Time is the database's clock at the statement, not at the beginning of a transaction."
)
RENEW = Rule("3.2", "A renewal increments the beat and writes the time.")
EVICTED = Rule("3.2", "If a renewal changed no row, the session was evicted, and every term on it is over.")
INVENTORY = Rule("3.2", "Every renewal compares what is held with what the instance believed when it sent it.")
IN_FLIGHT = Rule("3.2", "Locks with a claim, move or release in flight wait for the next heartbeat.")
NOTHING_ADOPTED = Rule("3.2", "What is not run is released, what is not held is stopped, nothing is adopted.")
LOST_ROWS = Rule("3.2", "Rows that a failover lost are written again.")
BEAT_SEEN = Rule("3.2", "An eviction deletes the session only if its beat is still the one that was seen.")
CLAIM_FREE = Rule("3.2", "A claim sets the holder of locks that are enabled and free, for a session that exists.")
GROWING_TERM = Rule("3.2", "A new term is the last one plus one, or the database's time if that is greater.")
READ_BACK = Rule("3.2", "The answer of a claim is what the session holds.")
TRUST_AGAIN = Rule("3.2", "The trust is checked again before a job starts.")
MOVE = Rule("3.2", "A move transfers exactly this term between two live sessions of the instance.")
SMALLER_TRUST = Rule("3.2", "Until a move is confirmed, the smaller trust of both sessions counts.")
EXACT_TERM = Rule("3.2", "A release clears the holder of exactly this term.")
SWITCH = Rule("3.2", "The switch locks the lock's row before it reads what the other sources say.")
SWITCH_TIMEOUT = Rule("3.2", "The server ends a switch whose client is silent for 3 s.")
UNKNOWN = Rule(
    "3.2", "A call without an answer may have been executed or not: it is retried, or the inventory tells."
)

LEASE_PASSED = Rule(
    "3.3", "A session is dead if its lease has passed, on the candidate's clock, since its last heartbeat."
)
AGE_BELIEVED = Rule(
    "3.3", "The age of a heartbeat counts only if the database's clock ran like the candidate's own."
)
MOVED_BEAT = Rule("3.3", "A beat that is new since the last look is not older than the time since then.")
NEW_CANDIDATE = Rule("3.3", "A new candidate treats every heartbeat that it sees as new.")
STALE_TEST = Rule("3.3", "The eviction by age has the database's own test.")
STANDSTILL = Rule(
    "3.3", "A session is dead if its beat has not changed for 1.25 leases, whatever any other clock says."
)

MARGIN = Rule("3.4", "The trust ends before the lease, by the stop timeout and 2 % of the lease.")
REQUIRED = Rule("3.4", "Lease less margin is at least two heartbeat intervals.")
CLAIM_TRUST = Rule("3.4", "A lock is claimed only with one heartbeat interval of trust left.")
RETRIES = Rule("3.4", "A failed renewal is retried until the trust ends: failed attempts end no term.")
SPACING = Rule("3.4", "Retries are evenly spaced over the trust, then come closer, but never in a loop.")
ATTEMPT = Rule("3.4", "An attempt takes at most as long as the delay to the next, but has time to succeed.")
FREEZE = Rule("3.4", "Timeouts and back-offs do not count a freeze of the process; the trust does.")
TRUST_ENDS = Rule("3.4", "When the trust is used up, the job is stopped.")
NEVER_RESUMED = Rule("3.4", "A term that was given up is never resumed.")
OVERRUN = Rule("3.4", "A stop that outlives the lease is reported; lostPolicy decides.")
HUNG_CALL = Rule("3.4", "A call that hangs delays neither a stop nor a heartbeat, and is aborted.")
WATCHDOG = Rule("3.4", "A watchdog ends the trust if the elector's thread is late.")
EXIT = Rule("3.4", "With lostPolicy exit, a timer that needs no Python thread ends the process with the lease.")
SHIM = Rule("3.4", "The shim ends its command when the trust is over or the controller has died.")

HINT = Rule("3.5", "A notification is a hint: without it the timers find the change.")
PROBE = Rule("3.5", "A probe detects a pooler that loses notifications.")
QUIET_HEARTBEATS = Rule("3.5", "Heartbeats cause no notification.")
FAIR_SHARE = Rule("3.5", "A candidate first claims its fair share, less what it holds.")
OPEN_CLAIM = Rule("3.5", "After 250 ms every instance may claim the rest.")
CHOOSE_AGAIN = Rule("3.5", "An instance that won a part of its share chooses again within 20 ms.")

GUARD = Rule("3.6", "The guard reads the row of exactly this term and keeps it until the commit.")
RAISE_IF_LOST = Rule("3.6", "A job sees the end of its term on the clock, not by a flag.")

COST = Rule(
    "3.7", "Each instance renews and reads the sessions once per heartbeat interval, however many locks it has."
)

QUARANTINE = Rule("3.8", "From a promotion to the end of its quarantine the database grants no claim.")
QUARANTINE_LASTS = Rule(
    "3.8", "The quarantine lasts for the longest lease, on the clock of the instance that ends it."
)
QUARANTINE_ENDS = Rule("3.8", "An instance that has watched the new incarnation for so long ends the quarantine.")
CONFIRMED = Rule("3.8", "After a promotion only what the new primary is found to have is trusted for longer.")
OBSERVED_ANEW = Rule("3.8", "What was observed of sessions counts in the incarnation in which it was observed.")

RULES = tuple(value for value in list(vars().values()) if isinstance(value, Rule))
