"""Database URLs and names as people may see them: without a password, whatever was written in its place."""

import re
from urllib.parse import unquote_plus

_SECRET_WORDS = ("pass", "pwd", "secret", "token")
_PASSWORD_WITHOUT_HOST = re.compile(
    r"^([^:/?\[]*):(?!\d+(?:[/?]|$))[^/?]*"
)  # user:password where the host was forgotten
_MAX_NAME_LENGTH = 64


def redact_url(url: str) -> str:
    """Return ``url`` with stars for the password, wherever a database URL may carry one.

    What should have been percent-encoded may stand in a password as it is, so all from the first colon to the
    last @ is taken for it: rather too much is hidden than a part of it shown.
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
    """Return a name as errors may repeat it: whoever forgot a key has perhaps written a URL in its place."""
    text = redact_url(name)[:_MAX_NAME_LENGTH]
    return text if text.isprintable() else repr(text)


def _redact_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    is_secret = any(word in unquote_plus(name).lower() for word in _SECRET_WORDS)
    return f"{name}{equals}{'***' if is_secret else value}"
