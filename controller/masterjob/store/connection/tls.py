"""The words for TLS of MySQL's clients, clouds and other drivers, mapped to those of our drivers.

The modes are libpq's. All words are taken for every server, because people copy the one that their cloud prints.
"""

import ssl
from collections.abc import Mapping
from typing import Any

from masterjob.store.connection.url import url_error

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""The weakest first."""

_SYNONYMS = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify-identity": "verify-full",
}
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

_SWITCHES: Mapping[str, tuple[str, str | None]] = {
    "ssl": ("require", "disable"),
    "usessl": ("require", "disable"),
    "requiressl": ("require", None),
    "verifyservercertificate": ("verify-ca", None),
    "sslverifycert": ("verify-ca", None),
    "sslverifyidentity": ("verify-full", None),
    "ssldisabled": ("disable", None),
    "tls": ("verify-full", "disable"),
}
"""A word that takes true or false, and the mode that each means; None means nothing is said."""
_OTHER_VALUES = {"tls": {"skip-verify": "require", "preferred": "prefer"}}
_MYSQL_FILES = ("ca", "capath", "cert", "key", "cipher", "key_password")
_MYSQLDB_MODES = {
    "disable": "DISABLED",
    "allow": "PREFERRED",
    "prefer": "PREFERRED",
    "require": "REQUIRED",
    "verify-ca": "VERIFY_CA",
    "verify-full": "VERIFY_IDENTITY",
}
_FILES = {"sslca": "ca", "sslrootcert": "ca", "sslcapath": "capath", "sslcert": "cert", "sslkey": "key"}
"""The words for files, and what each is."""


def take_tls_mode(options: dict[str, str]) -> str | None:
    """Remove every word for a TLS mode from the options, and return the strictest mode that they give, if any.

    Raises:
        SettingError: a value is not known, or one word switches TLS off and another one on.
    """
    found: dict[str, str] = {}
    for name in list(options):
        word = _plain(name)
        if word == "sslmode" or word in _SWITCHES:
            mode = _mode(name, word, options.pop(name))
            if mode is not None:
                found[name] = mode
    if "disable" in found.values() and len(set(found.values())) > 1:
        raise url_error(f"{' and '.join(sorted(found))} contradict each other: keep one of them")
    return max(found.values(), key=MODES.index, default=None)


def _mode(name: str, word: str, value: str) -> str | None:
    value = value.strip().lower().replace("_", "-")
    mode = _SYNONYMS.get(value, value)
    if mode in MODES and word in ("sslmode", "ssl"):
        return mode
    if word in _SWITCHES:
        on, off = _SWITCHES[word]
        if value in _TRUE:
            return on
        if value in _FALSE:
            return off
        if value in _OTHER_VALUES.get(word, {}):
            return _OTHER_VALUES[word][value]
    expected = "true or false; or use ssl-mode with" if word in _SWITCHES else ""
    raise url_error(f"the option {name} must be {expected or 'one of'} {', '.join(MODES)}")


def rename_file_options(options: dict[str, str]) -> None:
    """Rename the files of a MySQL client's certificates, such as ``ssl-ca``, to SQLAlchemy's names."""
    for name in list(options):
        if (part := _FILES.get(_plain(name))) is not None:
            options[f"ssl_{part}"] = options.pop(name)


def mysql_tls_arguments(mode: str | None, options: dict[str, str], driver: str) -> dict[str, Any]:
    """Return the driver's arguments for TLS, and remove the files that they contain from the options.

    Without a mode the files decide: a CA is used to verify the server. Without both, PyMySQL uses TLS if the
    server has it.
    """
    files = {name: options.pop(f"ssl_{name}") for name in _MYSQL_FILES if f"ssl_{name}" in options}
    has_authorities = "ca" in files or "capath" in files
    check_hostname = options.pop("ssl_check_hostname", "true").lower() not in _FALSE
    if mode is None and not files:
        return {}
    if mode in ("allow", "prefer") and files:
        mode = "require"  # PyMySQL uses no file if TLS is optional
    if mode == "require" and has_authorities:
        mode = "verify-ca"  # as libpq: who names a CA wants it to be used
    if mode is None:
        mode = ("verify-full" if check_hostname else "verify-ca") if has_authorities else "require"
    if driver == "mysqldb":
        arguments: dict[str, Any] = {"ssl_mode": _MYSQLDB_MODES[mode]}
        return arguments if mode == "disable" or not files else arguments | {"ssl": files}
    return _pymysql_arguments(mode, files, has_authorities=has_authorities)


def _pymysql_arguments(mode: str, files: dict[str, str], *, has_authorities: bool) -> dict[str, Any]:
    if mode == "disable":
        return {"ssl_disabled": True}
    if mode in ("allow", "prefer"):
        return {}  # PyMySQL's own default
    if "key_password" in files:
        files["password"] = files.pop("key_password")
    if mode == "require":
        return {"ssl": {**files, "verify_mode": "none"}}
    if not has_authorities:
        files |= _system_authorities()  # PyMySQL checks the host name only with a CA that it was given
    return {"ssl": {**files, "check_hostname": mode == "verify-full", "verify_mode": "required"}}


def _system_authorities() -> dict[str, str]:
    paths = ssl.get_default_verify_paths()
    if paths.cafile:  # None, whatever its type says, if there is no such file
        return {"ca": paths.cafile}
    if not paths.capath:
        raise url_error("this machine has no file of certificate authorities: name one as ssl-ca=FILE")
    return {"capath": paths.capath}


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
