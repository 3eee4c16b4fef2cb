"""Functions that are compiled: what runs once a pixel.

numba compiles a function when it is first called and keeps the result beside the source, so
that the next process only loads it. It looks at one file alone to see whether that result is still
true, though a function of another file may be compiled into it; so results that are older than any
file here are removed first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from numba import njit

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
    made: F = njit(
        cache=True, error_model="numpy", fastmath=_FREEDOMS, _nrt=False, forceinline=True
    )(function)
    return made


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
