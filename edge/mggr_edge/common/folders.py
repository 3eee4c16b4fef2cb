"""Folders of the user, and files in data folders that are no data.

None of them is data, although some have the names of data: macOS writes an AppleDouble file
`._photo.jpg` beside `photo.jpg` on foreign disks, Jupyter keeps copies in `.ipynb_checkpoints`,
Synology's thumbnails in `@eaDir` are JPEG files. Every reader of folders leaves them out.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath

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


_NAMES = frozenset(
    {
        "$recycle.bin",
        "#recycle",
        "@__thumb",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
"""In small letters: most of these file systems ignore case."""


def is_system_file(path: PurePath | str) -> bool:
    """Whether a file is hidden or added by a system, or lies in such a folder.

    Args:
        path: relative to the folder that is read; folders above that one do not count.

    Example:
        >>> is_system_file("._0001_2m_0P_0V_0H_L.jpg"), is_system_file("@eaDir/anna.jpg/thumb.jpg")
        (True, True)
        >>> is_system_file("anna.jpg")
        False
    """
    return any(
        (part.startswith(".") and part not in (".", "..")) or part.lower() in _NAMES
        for part in PurePath(path).parts
    )
