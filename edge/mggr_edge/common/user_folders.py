"""Folders of the user's own: configuration and cache, where a home folder is known."""

from __future__ import annotations

import os
from pathlib import Path

NO_HOME = "no home folder is known: HOME is not set and this user id has no account"


def config_home() -> Path | None:
    """`$XDG_CONFIG_HOME`, by default `~/.config`; None without a home folder."""
    return _folder("XDG_CONFIG_HOME", ".config")


def cache_home() -> Path | None:
    """`$XDG_CACHE_HOME`, by default `~/.cache`; None without a home folder."""
    return _folder("XDG_CACHE_HOME", ".cache")


def _folder(variable: str, name: str) -> Path | None:
    if named := os.environ.get(variable):
        return Path(named)
    try:
        return Path.home() / name
    except RuntimeError:  # `env -i`, some containers, a service with a numeric user
        return None
