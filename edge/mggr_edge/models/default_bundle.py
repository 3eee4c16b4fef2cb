"""The weights that come with the package: a bundle by name instead of by path.

They were trained on drawn eyes alone and may be used for anything (Apache-2.0); the model card
lies beside them. These bundles are lean: the face models come from this machine (see
`landmark_models`), and Keras' reference weights live with the training code.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mggr_edge.errors import BundleError

DEFAULT, DEFAULT_INT8 = "default", "default-int8"

_FOLDERS = {DEFAULT: "float", DEFAULT_INT8: "int8"}

NAMES = tuple(_FOLDERS)
"""What stands for a packaged bundle wherever the path of a bundle is asked for."""


def packaged_bundles() -> Path:
    """The folder that holds one packaged bundle for each precision."""
    return Path(str(resources.files("mggr_edge.models"))) / "weights"


def bundle_path(name_or_path: str | Path) -> Path:
    """Where a bundle lies: a packaged one by its name, any other by its path.

    Only a string is a name: `./default` and `Path("default")` are folders.

    Raises:
        BundleError: this installation carries no weights.
    """
    if not isinstance(name_or_path, str) or name_or_path not in _FOLDERS:
        return Path(name_or_path)
    path = packaged_bundles() / _FOLDERS[name_or_path]
    if not path.is_dir():
        raise BundleError(
            f"this installation carries no weights of its own ({name_or_path}); name a bundle that "
            "`mggr-tf export` wrote: --model BUNDLE"
        )
    return path
