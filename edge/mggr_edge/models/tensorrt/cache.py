"""Store TensorRT engines in the user's cache folder, and load them from it.

An engine is a model that TensorRT compiled for one GPU. Next to each engine there is a JSON file,
the note. The note contains the key of the engine and the checksum of the engine file.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.folders import cache_home
from mggr_edge.common.schema import read
from mggr_edge.errors import ConfigError, EngineError
from mggr_edge.models.tensorrt.build_options import EnginePrecision

_APART = ".engine", ".json"
_OPTION = {"float32": "", "float16": " --fp16", "int8": " --int8"}


@dataclass(frozen=True)
class EngineKey:
    """Key of an engine in the cache. The key contains all properties on which an engine depends.

    Attributes:
        tensorrt: version of TensorRT, such as "10.3.0".
        gpu: name of the GPU.
        precision: precision of the ONNX file from which the engine was built.
        model_sha256: SHA-256 checksum of that file in hexadecimal.
        dla: number of the deep learning accelerator. `None` means the GPU.
    """

    tensorrt: str
    gpu: str
    precision: EnginePrecision
    model_sha256: str
    dla: int | None = None

    def build_command(self, bundle: str = "BUNDLE") -> str:
        """Return the command that builds an engine of this precision on this machine."""
        place = "" if self.dla is None else f" --dla {self.dla}"
        return f"mggr-edge build-engine {shlex.quote(bundle)}{_OPTION[self.precision]}{place}"

    def digest(self) -> str:
        """Return a hash of the key with 24 hexadecimal digits; it is used as file name."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def cache_folder() -> Path | None:
    """Return the folder `$XDG_CACHE_HOME/mggr-edge/engines`.

    If the variable is not set, the folder is in `~/.cache`. If there is no home folder, the result
    is `None`.
    """
    home = cache_home()
    return None if home is None else home / "mggr-edge" / "engines"


def store(folder: Path, key: EngineKey, engine: bytes) -> Path:
    """Store an engine and its note in the cache; an engine with the same key is replaced.

    Returns:
        The path of the engine.

    Raises:
        OSError: the cache cannot be written. No partial file remains.
        DiskError: the disk is full, over its quota, or read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = engine_path(folder, key)
    note = {**asdict(key), "engine_sha256": hashlib.sha256(engine).hexdigest()}
    for target, content in (
        (path, engine),
        (path.with_suffix(_APART[1]), json.dumps(note, indent=2).encode()),
    ):
        with atomic_file(target, force=True) as temporary:
            temporary.write_bytes(content)
    return path


def engine_path(folder: Path, key: EngineKey) -> Path:
    """Return the path of the engine with this key; the engine need not exist."""
    return folder / f"{key.digest()}{_APART[0]}"


def has_engines(folder: Path) -> bool:
    """Return whether a cache contains any engine."""
    return any(folder.glob(f"*{_APART[0]}"))


def load(folder: Path, key: EngineKey) -> bytes | None:
    """Return the bytes of the engine with this key.

    If no engine was built from this model file, the result is `None`.

    Raises:
        EngineError: the engine was built for another TensorRT version or GPU, or it is damaged. The
            message contains the reason.
        OSError: the engine cannot be read.
    """
    path = engine_path(folder, key)
    if not path.is_file():
        if (other := built_elsewhere(folder, key)) is None:
            return None
        raise EngineError(
            f"the engine was built for TensorRT {other.tensorrt} on {other.gpu}, this machine has "
            f"TensorRT {key.tensorrt} on {key.gpu}: run build-engine again",
            code="engine-for-another-machine",
            found=(other.tensorrt, other.gpu),
            expected=(key.tensorrt, key.gpu),
        )
    engine = path.read_bytes()
    note = _note(path.with_suffix(_APART[1]))
    if note.get("engine_sha256") != hashlib.sha256(engine).hexdigest():
        raise EngineError(
            f"{path} is damaged: run build-engine again", code="engine-damaged", path=path
        )
    return engine


def keys_in(folder: Path) -> list[EngineKey]:
    """Return the keys of the engines in a cache; engines without a readable note are skipped."""
    keys = []
    for file in sorted(folder.glob(f"*{_APART[1]}")) if folder.is_dir() else ():
        note = {name: value for name, value in _note(file).items() if name != "engine_sha256"}
        try:
            keys.append(read(EngineKey, note))
        except ConfigError:
            continue
    return keys


def built_elsewhere(folder: Path, key: EngineKey) -> EngineKey | None:
    """Return the key of an engine of the same file, for any TensorRT version and any GPU.

    All other properties must equal those of `key`. If `key` itself is in the cache, the result may
    also be `key`. If the cache contains no such engine, the result is `None`.
    """
    others = (k for k in keys_in(folder) if replace(k, tensorrt=key.tensorrt, gpu=key.gpu) == key)
    return next(others, None)


def _note(file: Path) -> dict[str, object]:
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
