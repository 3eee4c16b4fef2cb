"""Addresses as they may be shown and logged."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(:/+[^:]*):.*@", re.DOTALL)
"""As generous as can be: a user may have any sign in it, and a password even a line's end."""
_ADDRESS = re.compile(r":/")
"""A path has lost a slash of an address that was taken for a file."""
_QUERY_VALUE = re.compile(r"([?&][^=&]*)=[^&]*")


def without_secrets(text: str) -> str:
    """An address without its password, and without whatever its query says; other text as it is."""
    if not _ADDRESS.search(text):
        return text
    return _QUERY_VALUE.sub(r"\1=...", _PASSWORD.sub(r"\1:...@", text))
