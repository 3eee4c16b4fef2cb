"""The weights that come with the package: a bundle by name instead of by path.

They were trained on drawn eyes alone and may be used for anything (Apache-2.0); the model card
lies beside them. These bundles are lean: the face models come from this machine (see
`landmark_models`), and Keras' reference weights live with the training code.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mggr_edge.errors import BundleError

DEFAULT = "default"

_FOLDERS = {DEFAULT: "float", "default-int8": "int8"}

NAMES = tuple(_FOLDERS)
"""What stands for a packaged bundle wherever the path of a bundle is asked for."""


def packaged_bundles() -> Path:
    """The folder that holds one packaged bundle for each precision."""
    return Path(str(resources.files("mggr_edge"))) / "default"


def bundle_path(name_or_path: str | Path) -> Path:
    """Where a bundle lies: a packaged one by its name, any other by its path.

    A folder that happens to be called like a packaged one is named `./default`.

    Raises:
        BundleError: this installation carries no weights.
    """
    name = str(name_or_path)
    if name not in _FOLDERS:
        return Path(name_or_path)
    path = packaged_bundles() / _FOLDERS[name]
    if not path.is_dir():
        raise BundleError(
            f"this installation carries no weights of its own ({name}); name a bundle that "
            "`mggr-tf export` wrote: --model BUNDLE"
        )
    return path
