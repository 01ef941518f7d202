"""Requests to the API server, each with a timeout and typed errors.

    config.py  the address of the API server, and the credentials
    client.py  the requests
    cancel.py  requests in flight, which another thread can cancel
    errors.py  the errors that responses are translated to

What must not be here: what is done with the responses.
"""
