"""Functions that are compiled: what runs once a pixel.

numba compiles a function when it is first called and keeps the result beside the source or in the
user's cache, so that the next process only loads it. Where neither can be written, every process
compiles. numba looks at one file alone to see whether a result is still valid, though a function of
another file may be compiled into it; so results that are older than any file here are removed
first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba
from numba import njit

from mggr_edge.common.folders import cache_home

F = TypeVar("F", bound=Callable)

_FREEDOMS = {"contract", "arcp", "nsz", "reassoc"}

_HERE = Path(__file__).parent


def compiled(function: F) -> F:
    """Compiles a function of numbers, arrays and named tuples of them.

    Division follows IEEE 754, as numpy's does: no check in front of each. Sums may be taken in
    another order and with fused multiply-adds, so the last bits differ from machine to
    machine. Arrays come from outside, and are not counted as they pass from function to
    function (`_nrt`): counting took four fifths of a painter's time. A function that makes an
    array does not compile.
    """

    def made(*, cache: bool) -> F:
        compile_ = njit(
            cache=cache, error_model="numpy", fastmath=_FREEDOMS, _nrt=False, forceinline=True
        )
        result: F = compile_(function)
        return result

    try:
        return made(cache=_has_place_for_results())
    except RuntimeError:  # numba finds no folder to write to
        return made(cache=False)


def _has_place_for_results() -> bool:
    """False where numba would create a folder called `~`, because no home folder is known."""
    beside = _HERE / "__pycache__"
    is_writable = os.access(beside if beside.is_dir() else _HERE, os.W_OK)
    return is_writable or bool(numba.config.CACHE_DIR) or cache_home() is not None


def forget_older_results(folder: Path) -> int:
    """Removes kept results that are older than the newest source beside them.

    Returns:
        How many files were removed.
    """
    newest = max(source.stat().st_mtime_ns for source in folder.glob("*.py"))
    removed = 0
    for index in (folder / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest:
                index.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # another process was faster
        except PermissionError:
            break  # an installed package, which nobody edits
    return removed


forget_older_results(_HERE)
