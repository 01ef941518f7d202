"""Database URLs and names without passwords, for logs and errors."""

import re
from urllib.parse import unquote_plus

_SECRET_WORDS = ("pass", "pwd", "secret", "token")
_PASSWORD_WITHOUT_HOST = re.compile(r"^([^:/?\[]*):(?!\d+(?:[/?]|$))[^/?]*")  # user:password, but no host
_MAX_NAME_LENGTH = 64


def redact_url(url: str) -> str:
    """Return ``url`` with stars in place of every password.

    A password may contain characters that should have been percent-encoded. So everything from the first colon to
    the last @ is hidden: rather too much than too little.
    """
    scheme, scheme_separator, remainder = url.partition("://")
    credentials, at_sign, location = remainder.rpartition("@")
    user, colon, _ = credentials.partition(":")
    location = location if at_sign else _PASSWORD_WITHOUT_HOST.sub(r"\1:***", location)
    base, question_mark, query = (
        f"{scheme}{scheme_separator}{user}{colon and ':***'}{at_sign}{location}".partition("?")
    )
    return base + question_mark + "&".join(_redact_parameter(parameter) for parameter in query.split("&"))


def redact_name(name: str) -> str:
    """Return a name as errors may repeat it: if a key was forgotten, the name may be a database URL."""
    text = redact_url(name)[:_MAX_NAME_LENGTH]
    return text if text.isprintable() else repr(text)


def _redact_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    is_secret = any(word in unquote_plus(name).lower() for word in _SECRET_WORDS)
    return f"{name}{equals}{'***' if is_secret else value}"
