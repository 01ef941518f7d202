"""HTTP hooks as a job.

job.py       the job, behind the election's port: POST at the start, POST at the stop
exchange.py  one POST that can be broken off from another thread

What must not be here: what the service behind the hooks does. It keeps the term's number, and refuses older ones.
"""
