"""Decorator that compiles per-pixel functions with numba.

numba compiles a function at its first call. numba stores the compiled code in a cache, either
beside the source file or in the user's cache folder. Later processes only load this code. If numba
can write to neither folder, each process compiles the function again.

numba considers cached code out of date only if the function's own file has changed. But the
compiled code may also contain functions from other files. Therefore this module removes all cached
code that is older than the newest source file of the package.
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
    """Compile a function with numba.

    The arguments of the function must be numbers, arrays, or named tuples of numbers and arrays.

    A division by zero raises no error. As in numpy, the result follows IEEE 754. The compiler may
    reorder sums and use fused multiply-adds. Therefore the last bits of a result can be different
    on different machines. Reference counting is disabled (`_nrt`), because it took four fifths of
    the time for painting. A function that allocates an array therefore does not compile, and the
    caller must allocate all arrays.
    """

    def made(*, cache: bool) -> F:
        compile_ = njit(
            cache=cache, error_model="numpy", fastmath=_FREEDOMS, _nrt=False, forceinline=True
        )
        result: F = compile_(function)
        return result

    try:
        return made(cache=_has_place_for_results())
    except RuntimeError:  # numba has found no writable cache folder
        return made(cache=False)


def _has_place_for_results() -> bool:
    """Return whether numba has a folder for its cache.

    Without this check, numba would create a folder with the name `~` if there is no home folder.
    """
    beside = _HERE / "__pycache__"
    is_writable = os.access(beside if beside.is_dir() else _HERE, os.W_OK)
    return is_writable or bool(numba.config.CACHE_DIR) or cache_home() is not None


def forget_older_results(folder: Path) -> int:
    """Remove cached code that is older than the newest source file in a folder.

    Args:
        folder: folder that contains the source files and their `__pycache__`.

    Returns:
        Number of files that were removed.
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
            break  # this is an installed package, whose source files do not change
    return removed


forget_older_results(_HERE)
