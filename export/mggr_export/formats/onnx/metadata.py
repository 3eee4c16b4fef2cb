"""Notes inside an ONNX file: its `metadata_props`."""

from __future__ import annotations

import onnx


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """The file with one more note; one of that name is replaced."""
    model = onnx.load_from_string(content)
    notes = {prop.key: prop.value for prop in model.metadata_props} | {name: text}
    onnx.helper.set_model_props(model, notes)
    return bytes(model.SerializeToString(deterministic=True))


def metadata_of(content: bytes) -> dict[str, str]:
    """All notes by name."""
    return {prop.key: prop.value for prop in onnx.load_from_string(content).metadata_props}
