"""A hash of what a run learned: equal for equal weights, whatever file holds them."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from mggr_edge.common.atomic import is_partial
from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import RunError
from mggr_tf.runs.folder import RunFolder


def fingerprint(run: RunFolder) -> dict[str, str]:
    """SHA-256 of every network's weights, and of all of them.

    Counted are the arrays' names, types, shapes and bytes; not when and by which version they
    were written, which is in the files too.

    Returns:
        network -> hash, in alphabetical order, and at the end "all".

    Raises:
        RunError: the run has no weights, or damaged ones.
    """
    files = sorted(
        file
        for file in (run.path / "weights").glob("*.npz")
        if not is_partial(file) and not is_system_file(file.name)
    )
    if not files:
        raise RunError(f"{run.path} has no weights yet; a stage leaves them when it is complete")
    found = {file.stem: _of_file(file) for file in files}
    whole = hashlib.sha256()
    for name, one in found.items():
        whole.update(f"{name} {one}\n".encode())
    return {**found, "all": whole.hexdigest()}


def _of_file(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        # numpy leaves a file open that it cannot read; this one closes.
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                array = np.ascontiguousarray(arrays[name])
                digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: the weights are damaged: {error}") from error
    return digest.hexdigest()
