"""Decorator that compiles per-pixel functions with numba.

numba compiles a function at its first call and caches the result beside the source or in the
user's cache folder, so that the next process only loads it. If neither folder is writable, each
process compiles again. To validate a cached result, numba checks the function's own file only,
although functions from other files may be inlined into it. Therefore this module first removes
cached results that are older than any source file of the package.
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
    """Compile a function of numbers, arrays and named tuples of both.

    Division follows IEEE 754, as in numpy, without a check for zero. Sums may be reordered and
    use fused multiply-adds, so the last bits differ between machines. Reference counting is
    disabled (`_nrt`), because it used four fifths of the painting time. Therefore the caller must
    allocate all arrays; a function that allocates an array does not compile.
    """

    def made(*, cache: bool) -> F:
        compile_ = njit(
            cache=cache, error_model="numpy", fastmath=_FREEDOMS, _nrt=False, forceinline=True
        )
        result: F = compile_(function)
        return result

    try:
        return made(cache=_has_place_for_results())
    except RuntimeError:  # numba found no writable cache folder
        return made(cache=False)


def _has_place_for_results() -> bool:
    """Return whether numba has a folder for its cache.

    Without a home folder, numba would create a folder named `~`.
    """
    beside = _HERE / "__pycache__"
    is_writable = os.access(beside if beside.is_dir() else _HERE, os.W_OK)
    return is_writable or bool(numba.config.CACHE_DIR) or cache_home() is not None


def forget_older_results(folder: Path) -> int:
    """Remove cached results that are older than the newest source file in the folder.

    Args:
        folder: Folder that contains the sources and their `__pycache__`.

    Returns:
        Number of removed files.
    """
    newest = max(source.stat().st_mtime_ns for source in folder.glob("*.py"))
    removed = 0
    for index in (folder / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest:
                index.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # another process has already removed the file
        except PermissionError:
            break  # an installed package: its sources do not change
    return removed


forget_older_results(_HERE)
