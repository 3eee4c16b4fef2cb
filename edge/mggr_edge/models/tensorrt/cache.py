"""Where engines lie: in the user's cache, each with a note of what it was built for."""

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
    """All that an engine depends on.

    Attributes:
        tensorrt: version, dotted.
        gpu: its name.
        precision: of the file that it was built from.
        model_sha256: of that file.
        dla: which accelerator; None for the GPU.
    """

    tensorrt: str
    gpu: str
    precision: EnginePrecision
    model_sha256: str
    dla: int | None = None

    def build_command(self, bundle: str = "BUNDLE") -> str:
        """The command that builds such an engine on this machine."""
        place = "" if self.dla is None else f" --dla {self.dla}"
        return f"mggr-edge build-engine {shlex.quote(bundle)}{_OPTION[self.precision]}{place}"

    def digest(self) -> str:
        """A name for a file."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/mggr-edge/engines`, by default under `~/.cache`.

    None where no home folder is known.
    """
    home = cache_home()
    return None if home is None else home / "mggr-edge" / "engines"


def store(folder: Path, key: EngineKey, engine: bytes) -> Path:
    """Puts an engine and its note into the cache; another with the same key is replaced.

    Raises:
        OSError: the cache cannot be written; nothing half-written is left.
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
    """Path of the engine that was built for this key, if it was."""
    return folder / f"{key.digest()}{_APART[0]}"


def has_engines(folder: Path) -> bool:
    """Whether a cache holds any engine."""
    return any(folder.glob(f"*{_APART[0]}"))


def load(folder: Path, key: EngineKey) -> bytes | None:
    """The engine that was built for this key; None if none was built of this model file.

    Raises:
        EngineError: it was built for another TensorRT or GPU, or it is damaged. The message
            says which.
        OSError: it cannot be read.
    """
    path = engine_path(folder, key)
    if not path.is_file():
        if (other := built_elsewhere(folder, key)) is None:
            return None
        raise EngineError(
            f"built for TensorRT {other.tensorrt} on {other.gpu}, this is TensorRT "
            f"{key.tensorrt} on {key.gpu}: run build-engine again"
        )
    engine = path.read_bytes()
    note = _note(path.with_suffix(_APART[1]))
    if note.get("engine_sha256") != hashlib.sha256(engine).hexdigest():
        raise EngineError(f"{path} is damaged: run build-engine again")
    return engine


def keys_in(folder: Path) -> list[EngineKey]:
    """What the engines in a cache were built for; what has no readable note is left out."""
    keys = []
    for file in sorted(folder.glob(f"*{_APART[1]}")) if folder.is_dir() else ():
        note = {name: value for name, value in _note(file).items() if name != "engine_sha256"}
        try:
            keys.append(read(EngineKey, note))
        except ConfigError:
            continue
    return keys


def built_elsewhere(folder: Path, key: EngineKey) -> EngineKey | None:
    """Key of an engine of the same file for another TensorRT or GPU."""
    others = (k for k in keys_in(folder) if replace(k, tensorrt=key.tensorrt, gpu=key.gpu) == key)
    return next(others, None)


def _note(file: Path) -> dict[str, object]:
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
