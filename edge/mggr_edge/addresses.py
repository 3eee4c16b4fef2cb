"""Addresses as they may be shown and logged."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(://[^:/@]*):.*@")
_QUERY_VALUE = re.compile(r"([?&][^=&]*)=[^&]*")


def without_secrets(text: str) -> str:
    """An address without its password, and without whatever its query says; other text as it is."""
    if "://" not in text:
        return text
    return _QUERY_VALUE.sub(r"\1=...", _PASSWORD.sub(r"\1:...@", text))
