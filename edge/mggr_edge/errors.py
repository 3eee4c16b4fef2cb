"""Errors that the user can correct.

::

    MggrError                base class: one-line message, exit code 2
    ├── UsageError           invalid arguments
    │   └── OutputExistsError   the output already exists
    ├── ConfigError          a config or contract has unknown keys or wrong types
    ├── DataError            training data is missing, corrupt or has a wrong file name
    ├── BundleError          a bundle is damaged or incompatible
    │   └── EngineError         a TensorRT engine cannot be used on this machine
    ├── RunError             a run folder is missing, damaged or incomplete
    ├── StreamError          a picture, video or camera cannot be read or written
    ├── DiskError            a disk is full, over its quota, or read-only
    ├── ArtifactError        a converted model differs from the trained model
    └── MissingPackageError  an optional package is not installed

A bundle contains exported models and the file `contract.json`. This file, called the contract,
describes the models. A run folder contains the results of one training.

Every error has a stable `code`. The `fields` of an error contain the values of its message. An
exception of any other class is a bug in this project and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class MggrError(Exception):
    """An error that the user can correct.

    The message states what failed, which value was found, which values are accepted, and what to
    do. The message may change between versions, so programs must test `code` and `fields` instead.

    Args:
        message: one line for the user.
        code: stable identifier of the cause, in kebab case. If it is `None`, the `code` of the
            error's class is used.
        fields: values that the message contains, as a dict: name -> value.

    Attributes:
        code: stable identifier of the cause.
        fields: values that the message contains, as a dict: name -> value.
    """

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None, **fields: object) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.fields = fields

    def __reduce__(self) -> Any:
        """Return the pickle data: a function and arguments that rebuild the error."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[MggrError], args: tuple[Any, ...], state: dict[str, Any]) -> MggrError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(MggrError):
    """Invalid arguments, or a combination of arguments that is not allowed."""

    code = "usage"


class OutputExistsError(UsageError):
    """The output already exists, and the user did not pass `--force` to replace it."""

    code = "output-exists"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists; choose another name or pass --force to replace it", path=path
        )


class ConfigError(MggrError):
    """A config or contract that does not match its schema.

    The message contains the position of the wrong key, for example `losses[0]`.
    """

    code = "config"


class DataError(MggrError):
    """Training data that is missing, corrupt or has a wrong file name."""

    code = "data"


class BundleError(MggrError):
    """A bundle that is damaged, has another schema version, or has incompatible models."""

    code = "bundle"


class EngineError(BundleError):
    """A TensorRT engine that this machine cannot use.

    The engine was built for another machine, or it is damaged, or CUDA reports an error.
    """

    code = "engine"


class RunError(MggrError):
    """A run folder that is missing, damaged or incomplete."""

    code = "run"


class StreamError(MggrError):
    """A picture, video or camera that cannot be read or written."""

    code = "stream"


class DiskError(MggrError):
    """A write failed, because the disk is full, over its quota, or read-only."""

    code = "disk"


class ArtifactError(MggrError):
    """An exported file that does not match its trained model, although a device could load it."""

    code = "artifact"


class MissingPackageError(MggrError):
    """An optional package that the requested operation needs is not installed."""

    code = "missing-package"

    def __init__(self, package: str, extra: str, *, command: str | None = None) -> None:
        command = command or f"pip install 'mggr-tf[{extra}]'"
        super().__init__(
            f"{package} is not installed; run: {command}", package=package, command=command
        )
