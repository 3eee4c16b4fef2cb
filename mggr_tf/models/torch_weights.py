"""Read PyTorch weights of feature networks from packages, without PyTorch.

`torch.save` writes a pickle that refers to storages (arrays of raw data). There are two formats. In
the legacy format (until PyTorch 1.5), the storages follow the pickle in the same file. In the newer
format, the storages are separate files in a zip archive.

A pickle can call arbitrary functions. The unpickler of this module therefore accepts only the names
that a state dict needs. These names are `OrderedDict`, the function that rebuilds a tensor, and two
storage types. The unpickler replaces these names by safe objects. If a file contains another name,
the file is rejected before this name is used.

The code is based on the documentation of PyTorch ("Serialization semantics") and on existing files.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, RunError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_ELEMENT_BYTES = {"<f4": 4, "<i8": 8}

_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
    NotImplementedError,
)
"""The exceptions that reading a damaged file can raise. The documentation of pickle does not
specify a smaller set."""


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file that `torch.save(model.state_dict(), path)` wrote, in either format.

    Args:
        path: path of a `.pth` file with float32 and int64 tensors.

    Returns:
        a dict of name -> array, in the order of the file. The arrays are float32 or int64.

    Raises:
        RunError: the file is missing or damaged.
        RunError: the file contains other objects than named tensors.
    """
    try:
        with path.open("rb") as file:
            form = _read_zip if file.read(2) == b"PK" else _read_legacy
            file.seek(0)
            entries, storages = form(file, path)
        if not isinstance(entries, Mapping):
            raise pickle.UnpicklingError("the file contains no state dict")
        return {str(name): _resolve(name, entry, storages) for name, entry in entries.items()}
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"{path} cannot be read: {reason}",
            code="state-dict-unreadable",
            path=path,
            reason=reason,
        ) from error
    except _DAMAGE as error:
        raise RunError(
            f"{path} is damaged or not a PyTorch state dict ({error}); expected a file written by "
            "torch.save(model.state_dict(), ...)",
            code="state-dict-damaged",
            path=path,
            reason=str(error),
        ) from error


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _View:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDictUnpickler(pickle.Unpickler):
    """Reads the pickle of a state dict. Rejects all names that a state dict does not need."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return a safe object that replaces a global name in the pickle."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            # Each call returns a new function. If a pickle sets an attribute of this function,
            # later files are therefore not affected.
            return lambda *arguments: _view(*arguments)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise RunError(
            f"{self._path} refers to {module}.{name}, but a state dict does not need this name; "
            "the file was rejected, and its code was not run. Save the model again with "
            "torch.save(model.state_dict(), ...)",
            code="state-dict-unsafe",
            path=self._path,
            name=f"{module}.{name}",
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a reference to a storage. The values of the storage are read later."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or dtype not in _ELEMENT_BYTES or any(v is not None for v in view):
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        return _Storage(str(key), dtype, _natural(count))


def _view(storage: object, offset: object, shape: Any, strides: Any, *_unused: object) -> _View:
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor without its storage")
    return _View(
        storage,
        _natural(offset),
        tuple(_natural(n) for n in shape),
        tuple(_natural(n) for n in strides),
    )


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise pickle.UnpicklingError(f"expected a size, found {value!r}")
    return value


_Read = Callable[[_Storage], bytes]


def _read_legacy(file: BinaryIO, path: Path) -> tuple[Any, _Read]:
    def load() -> Any:
        return _StateDictUnpickler(file, path).load()

    if load() != _MAGIC or load() != _PROTOCOL:
        raise ValueError("its first bytes are not those of a PyTorch file")
    if not load()["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    entries, keys = load(), load()
    sizes = {view.storage.key: view.storage for view in entries.values() if _is_view(view)}
    raw: dict[str, bytes] = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storage = sizes[key]
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} elements, expected {storage.count}")
        raw[key] = file.read(count * _ELEMENT_BYTES[storage.dtype])
    return entries, lambda storage: raw[storage.key]


def _read_zip(file: BinaryIO, path: Path) -> tuple[Any, _Read]:
    with zipfile.ZipFile(file) as archive:
        (pickled,) = (
            n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")
        )
        folder = pickled.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine")
        with archive.open(pickled) as inner:
            entries = _StateDictUnpickler(inner, path).load()  # type: ignore[arg-type]
        raw = {
            key: archive.read(f"{folder}data/{key}")
            for key in {view.storage.key for view in entries.values() if _is_view(view)}
        }
    return entries, lambda storage: raw[storage.key]


def _is_view(value: object) -> bool:
    return isinstance(value, _View)


def _resolve(name: object, view: object, read: _Read) -> NDArray[Any]:
    if not isinstance(view, _View):
        raise pickle.UnpicklingError(f"{name} is not a tensor")
    flat = np.frombuffer(read(view.storage), view.storage.dtype)
    if len(flat) != view.storage.count:
        raise ValueError(f"{name} is truncated")
    reach = view.offset + sum(
        (size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)
    )
    if 0 not in view.shape and reach >= len(flat):
        raise ValueError(f"{name} reaches beyond its storage")
    strided = np.lib.stride_tricks.as_strided(
        flat[view.offset :],
        view.shape,
        [stride * flat.itemsize for stride in view.strides],
        writeable=False,
    )
    return np.array(strided)  # contiguous copy


def packaged_state_dict(package: str, file: str) -> dict[str, NDArray[Any]]:
    """Return the state dict (the weights by name) from a package of the extra `train`.

    Args:
        package: import name of the package. The package has the same name on the package index.
        file: path of the `.pth` file inside the package.

    Raises:
        MissingPackageError: the package is not installed.
        RunError: the file is missing or damaged.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(package, "train")
    return read_state_dict(Path(next(iter(spec.submodule_search_locations))) / file)
