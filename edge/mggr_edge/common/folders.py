"""Return the user's config and cache folders, and detect system files in data folders.

Operating systems and applications create files that have the names of data files but contain no
data. On disks without an Apple file system, macOS writes a file `._photo.jpg` (an AppleDouble file)
next to `photo.jpg`. Jupyter keeps copies in `.ipynb_checkpoints`. Synology stores thumbnails as
JPEG files in `@eaDir`. All functions that read data folders skip these files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePath

NO_HOME = "no home folder is known: HOME is not set and this user id has no account"


def config_home() -> Path | None:
    """Return `$XDG_CONFIG_HOME`, or the folder for settings of the operating system.

    This folder is `%LOCALAPPDATA%` on Windows, `~/Library/Application Support` on macOS, and
    `~/.config` on other systems. If the variable is not set and there is no home folder, the result
    is `None`.
    """
    return _folder(
        "XDG_CONFIG_HOME", windows="", macos="Library/Application Support", others=".config"
    )


def cache_home() -> Path | None:
    """Return `$XDG_CACHE_HOME`, or the folder for caches of the operating system.

    This folder is `%LOCALAPPDATA%\\Cache` on Windows, `~/Library/Caches` on macOS, and `~/.cache`
    on other systems. If the variable is not set and there is no home folder, the result is `None`.
    """
    return _folder("XDG_CACHE_HOME", windows="Cache", macos="Library/Caches", others=".cache")


def _folder(variable: str, *, windows: str, macos: str, others: str) -> Path | None:
    if named := os.environ.get(variable):
        return Path(named)
    if sys.platform == "win32" and (named := os.environ.get("LOCALAPPDATA")):
        return Path(named) / windows
    name = macos if sys.platform == "darwin" else others
    try:
        return Path.home() / name
    except RuntimeError:  # e.g. with `env -i`, in some containers, in a service with a numeric user
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
"""Names of system files and folders, in lower case.

Names are compared in lower case, because most file systems on which these files occur ignore case.
"""


def is_system_file(path: PurePath | str) -> bool:
    """Return whether any part of a path is hidden or has the name of a system file or folder.

    Args:
        path: the path of the file relative to the data folder. The folders above the data folder
            must not be part of this path, because they are not data.

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
