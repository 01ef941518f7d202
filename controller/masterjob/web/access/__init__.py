"""Who may call, and what every request is checked for.

    auth.py            the authorizers: loopback, everyone, bearer token
    tokens.py          the token file
    request_filter.py  the checks of rate, Host and Origin
    limits.py          rate limiter and cache, bounded by key
    certificates.py    the server's TLS certificate, reloaded when it changes

What must not be here: what a call does; how a cluster is asked (`masterjob.web.interfaces.Authenticator`).
"""
