"""Errors that the user can correct.

::

    MggrError                what the user can correct: one line, exit code 2
    ├── UsageError           arguments that cannot be carried out
    │   └── OutputExistsError   a named output is already there
    ├── ConfigError          a config or contract with unknown keys or wrong types
    ├── DataError            training data that is missing, corrupt or misnamed
    ├── BundleError          a bundle that is damaged or does not fit
    │   └── EngineError         a TensorRT engine that this machine cannot use
    ├── RunError             a run folder that is missing, damaged or incomplete
    ├── StreamError          a picture, video or camera that cannot be read or written
    ├── DiskError            a disk that takes no more
    ├── ArtifactError        a converted model is not the trained one (in mggr_export)
    └── MissingPackageError  an optional package is not installed

Anything else that is raised is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path


class MggrError(Exception):
    """A mistake that the user can correct; the message says what, got, expected, do."""


class UsageError(MggrError):
    """Arguments that cannot be carried out as given."""


class OutputExistsError(UsageError):
    """A named output exists and nobody said that it may be replaced."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists; choose another name or pass --force to replace it")


class ConfigError(MggrError):
    """A config or contract that does not fit its schema; the message names the path."""


class DataError(MggrError):
    """Training data that is missing, corrupt or misnamed."""


class BundleError(MggrError):
    """A bundle that is damaged, of another schema, or whose models do not fit."""


class EngineError(BundleError):
    """A TensorRT engine that cannot be used here: stale, damaged, or CUDA fails."""


class RunError(MggrError):
    """A run folder that is missing, damaged or incomplete."""


class StreamError(MggrError):
    """A picture, video or camera that cannot be read or written."""


class DiskError(MggrError):
    """A disk that takes no more: full, over a quota, or read-only."""


class MissingPackageError(MggrError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, extra: str, *, command: str | None = None) -> None:
        command = command or f"pip install 'mggr-tf[{extra}]'"
        super().__init__(f"{package} is not installed; run: {command}")
