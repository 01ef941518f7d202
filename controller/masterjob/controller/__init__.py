"""The controller: reconciles the database and this process's part in the elections with the resources.

    controller.py     the queue of locks to reconcile, and the reconciliation of one
    ownership.py      the owner of each lock: the oldest resource that names it
    switches.py       the switch of each resource in the database
    managed_locks.py  the locks that this process competes for, with their jobs and settings

Files and the cluster are handled alike. What must not be here: where resources come from, SQL, what a job is.

How a disable reaches the job, from a MasterJob in the cluster:

    1. kube/informer/informer.py  takes in the change and calls `Operator.apply` (app/operator.py)
    2. controller.py              `apply` queues the lock; `_reconcile` runs on a thread masterjob-controller
    3. switches.py                `write` calls `LockAdmin.apply_switch` (store/admin.py), which commits the switch
                                  and then calls `Runtime.notify_elector` (runtime/runtime.py)
    4. election/runner.py         takes in `LocksChanged`; other processes get it from the database
                                  (store/notifier.py), or find the switch with their next heartbeat
    5. election/core/master.py    `on_change` reads the inventory; `check_inventory` finds the lock disabled and
                                  ends the term with `StopJob`
    6. election/job_runs.py       calls `SwappableJob.stop` (managed_locks.py), and that the job's `stop` (jobs/)
    7. election/core/master.py    releases the lock when the job has stopped

A file takes the same path from step 2, called by resource/files.py. A disable through the library, or through the
control API of this process, takes it from `LockAdmin.disable` on, in step 3.
"""
