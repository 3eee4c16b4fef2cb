"""Writes state dicts in PyTorch's two forms without PyTorch, for tests that read them."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np


class Global:
    """Pickles as a reference to a name that need not exist here."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


class Call:
    """Pickles as a call of a global."""

    def __init__(self, what, *arguments):
        self.what, self.arguments = what, arguments


class Writer(pickle._Pickler):
    """PyTorch's own pickles, without PyTorch: names, calls and references to storages."""

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        kind = "FloatStorage" if thing.values.dtype == np.float32 else "LongStorage"
        count = thing.values.size
        return ("storage", Global("torch", kind), thing.key, "cpu", count, *self.views)

    def save(self, thing, *rest, **named):
        if isinstance(thing, Global):
            self.write(f"c{thing.module}\n{thing.name}\n".encode())
        elif isinstance(thing, Call):
            self.save(thing.what)
            self.save(thing.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(thing, *rest, **named)


def pickled(thing, *, views=()):
    file = io.BytesIO()
    writer = Writer(file, 2)
    writer.views = views
    writer.dump(thing)
    return file.getvalue()


def tensor(storage, *, shape=None, strides=None, offset=0):
    values = storage.values
    shape = values.shape if shape is None else shape
    strides = [s // values.itemsize for s in values.strides] if strides is None else strides
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, offset, tuple(shape), tuple(strides), False, OrderedDict())


def legacy(entries, storages, *, order="little_endian"):
    """The form before PyTorch 1.6: five pickles, then each storage's count and values."""
    parts = [
        pickled(0x1950A86A20F9469CFC6C),
        pickled(1001),
        pickled({"protocol_version": 1001, "little_endian": order == "little_endian"}),
        pickled(entries, views=(None,)),
        pickled([s.key for s in storages]),
    ]
    parts += [struct.pack("<q", s.values.size) + s.values.tobytes() for s in storages]
    return b"".join(parts)


def zipped(entries, storages):
    """The form since PyTorch 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickled(entries))
        archive.writestr("model/byteorder", "little")
        for storage in storages:
            archive.writestr(f"model/data/{storage.key}", storage.values.tobytes())
    return file.getvalue()


def saved(arrays, form):
    """The content of a file with these arrays by name; `form` is `legacy` or `zipped`."""
    storages = [Storage(str(i), np.asarray(a, np.float32)) for i, a in enumerate(arrays.values())]
    tensors = (tensor(storage) for storage in storages)
    return form(OrderedDict(zip(arrays, tensors, strict=True)), storages)
