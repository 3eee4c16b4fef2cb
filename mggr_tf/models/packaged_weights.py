"""Weights that lie in a package whose code needs PyTorch: looked up, never imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError
from mggr_tf.models.torch_weights import read_state_dict


def packaged_state_dict(package: str, file: str) -> dict[str, NDArray[Any]]:
    """The state dict that a package of the extra `train` carries.

    Args:
        package: its import name, which is its name on the index too.
        file: path of the `.pth` inside the package.

    Raises:
        MissingPackageError: the package is not installed.
        RunError: its file is missing or damaged.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(package, "train")
    return read_state_dict(Path(next(iter(spec.submodule_search_locations))) / file)
