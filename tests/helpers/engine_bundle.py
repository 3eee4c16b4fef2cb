"""A real bundle with engines for TensorRT's stand-in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fake_tensorrt
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import (
    CONTRACT_FILE,
    SUMS_FILE,
    checksum_lines,
    read_bundle_files,
)
from mggr_edge.models.installed import bundle_path
from mggr_edge.models.tensorrt.cache import cache_folder, store
from mggr_edge.models.tensorrt.engines import key_of

VERSION = (10, 3, 0)


def with_engines(folder: Path, models: tuple[str, ...] = ("redirector", "estimator")) -> Path:
    """The packaged bundle with an ONNX stand-in of each model that an engine can be built of."""
    files = read_bundle_files(bundle_path("default"))
    contract = json.loads(files[CONTRACT_FILE])
    for formats in contract["models"].values():
        for one in [one for one in formats if one["format"] == "onnx"]:
            formats.remove(one)
            del files[one["file"]]
    for name in models:
        (tflite,) = contract["models"][name]
        tensors = {
            kind: {one["name"]: one["shape"] for one in tflite[kind]}
            for kind in ("inputs", "outputs")
        }
        file, content = f"models/{name}.onnx", fake_tensorrt.described(**tensors)
        files[file] = content
        sha256 = hashlib.sha256(content).hexdigest()
        artifact = {**tflite, "file": file, "format": "onnx", "sha256": sha256}
        contract["models"][name].append(artifact)
    files[CONTRACT_FILE] = json.dumps(contract).encode()
    files[SUMS_FILE] = checksum_lines(files).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def build_engines(
    path: Path, *, version: tuple[int, ...] = VERSION, gpu: str = "Orin"
) -> list[Path]:
    """Puts an engine of each ONNX file into the cache."""
    with Bundle.open(path) as bundle:
        formats = [one for formats in bundle.contract.models.values() for one in formats]
    files = read_bundle_files(path)
    return [
        store(cache_folder(), key_of(one, version, gpu), b"ENGINE" + files[one.file])
        for one in formats
        if one.format == "onnx"
    ]
