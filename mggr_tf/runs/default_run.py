"""The run that comes with the package: default weights to train on, score and export."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mggr_edge.errors import RunError
from mggr_edge.models.installed import DEFAULT
from mggr_tf.runs.folder import RunFolder


def packaged_run() -> Path:
    """The folder of the packaged run: `run.json`, `config.yaml`, `weights/`, no checkpoints."""
    return Path(str(resources.files("mggr_tf.runs"))) / "default"


def open_run(name_or_path: str | Path) -> RunFolder:
    """Opens the packaged run by its name, `default`, or any other by its path.

    Only a string is a name: `./default` and `Path("default")` are folders.

    Raises:
        RunError: no run there, or a damaged one; or this installation carries none.
    """
    if name_or_path != DEFAULT:
        return RunFolder.open(Path(name_or_path))
    if not packaged_run().is_dir():
        raise RunError(
            "this installation carries no weights of its own; name a run that `mggr-tf train` made"
        )
    return RunFolder.open(packaged_run())
