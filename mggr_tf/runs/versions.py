"""Versions of the packages that a run's numbers depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

from mggr_edge.common.version import __version__

_PACKAGES = ("tensorflow", "keras", "tensorflow-addons", "numpy")


def installed_versions() -> dict[str, str]:
    """Package -> version: this one's, Python's, and those that compute."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"mggr-tf": __version__, "python": platform.python_version(), **found}


def other_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The packages whose versions differ: `tensorflow 2.14.0 -> 2.15.1, numpy ...`; None if none.

    Of Python only the minor version counts: its patches change no number. A package that one side
    does not record is not compared.

    Example:
        >>> other_versions({"numpy": "1.24", "python": "3.11.2"}, {"numpy": "1.26"})
        'numpy 1.24 -> 1.26'
    """
    found = [
        f"{name} {before[name]} -> {now[name]}"
        for name in before
        if name in now and _counted(name, before[name]) != _counted(name, now[name])
    ]
    return ", ".join(found) or None


def _counted(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == "python" else version
