"""Notes inside a TFLite file: named buffers that interpreters skip."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

_MARK = b"TFL3"


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """The file with one more note; one of that name is replaced."""
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = [m for m in model.metadata or [] if m.name != name.encode()]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    note = schema.MetadataT()
    note.name, note.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(note)
    builder = flatbuffers.Builder(len(content) + len(text))
    builder.Finish(model.Pack(builder), file_identifier=_MARK)
    return bytes(builder.Output())


def metadata_of(content: bytes) -> dict[str, str]:
    """All notes that are text, by name."""
    model = _schema().ModelT.InitFromPackedBuf(content, 0)
    found = {}
    for note in model.metadata or []:
        data = model.buffers[note.buffer].data
        if data is None:
            continue
        try:
            found[note.name.decode()] = bytes(data).decode()
        except UnicodeDecodeError:
            continue
    return found


def _schema() -> Any:
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated
