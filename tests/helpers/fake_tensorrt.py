"""TensorRT and CUDA as their documentation describes them, recorded: nothing of NVIDIA runs here.

An engine of this TensorRT doubles its input `x` [1, 3] into its output `y`, unless its model is
`described`: then it has those tensors, and its outputs are zeros. The GPU's memory is this
process's own, and `module.alive` counts the engines and contexts that are not released.
"""

import ctypes
import json
import weakref
from enum import Enum, IntEnum
from types import SimpleNamespace

import numpy as np

UNREADABLE = b"no model"


class Log(list):
    """What was called, in order."""

    def names(self):
        return [entry[0] for entry in self]


def described(inputs, outputs):
    """An ONNX file's stand-in with these tensors: name -> shape."""
    return json.dumps({"inputs": inputs, "outputs": outputs}).encode()


def make(version, *, builds=True, has_memory=True, runs=True):
    """A module of that version and the log of its calls.

    Args:
        version: dotted.
        builds: whether engines can be built.
        has_memory: without it, no engine can be prepared for execution.
        runs: whether engines run.
    """
    log, major = Log(), int(version.split(".")[0])
    flags = {"EXPLICIT_BATCH": 0} if major < 11 else {}
    if major >= 10:
        flags["STRONGLY_TYPED"] = 1
    module = SimpleNamespace(
        __version__=version,
        Logger=_logger(),
        NetworkDefinitionCreationFlag=IntEnum("NetworkDefinitionCreationFlag", flags),
        BuilderFlag=Enum("BuilderFlag", ["FP16", "INT8", "GPU_FALLBACK"]),
        DeviceType=Enum("DeviceType", ["GPU", "DLA"]),
        TensorIOMode=Enum("TensorIOMode", ["INPUT", "OUTPUT"]),
        nptype=lambda dtype: dtype,
        OnnxParser=lambda network, logger: _Parser(network),
        Builder=lambda logger: _Builder(log, builds),
    )
    module.has_memory, module.runs, module.alive = has_memory, runs, weakref.WeakSet()
    module.Runtime = lambda logger: _Runtime(module)
    return module, log


def _logger():
    return type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None})


class _Parser:
    num_errors = 1

    def __init__(self, network):
        self.network = network

    def parse(self, content):
        self.network.content = content
        return content != UNREADABLE

    def get_error(self, index):
        return SimpleNamespace(desc=lambda: "node 3 has no kernel")


class _Builder:
    def __init__(self, log, builds):
        self.log, self.builds = log, builds

    def create_network(self, flags):
        self.log.append(("create_network", flags))
        return SimpleNamespace(content=b"")

    def create_builder_config(self):
        return _Config(self.log)

    def build_serialized_network(self, network, config):
        if config.default_device_type is not None:
            self.log.append(("device", config.default_device_type.name, config.DLA_core))
        return b"ENGINE" + network.content if self.builds else None


class _Config:
    default_device_type = None
    DLA_core = -1

    def __init__(self, log):
        self.log, self.cache = log, b""

    def set_flag(self, flag):
        self.log.append(("set_flag", flag.name))

    def create_timing_cache(self, content):
        self.log.append(("create_timing_cache", content))
        return SimpleNamespace(serialize=lambda: content + b"!")

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.cache = cache

    def get_timing_cache(self):
        return self.cache


class _Runtime:
    def __init__(self, module):
        self.module = module

    def deserialize_cuda_engine(self, content):
        if not content.startswith(b"ENGINE"):
            return None
        return _Engine(self.module, content.removeprefix(b"ENGINE"))


class _Engine:
    def __init__(self, module, model):
        self.module = module
        tensors = json.loads(model) if model.startswith(b"{") else None
        self.doubles = tensors is None
        tensors = tensors or {"inputs": {"x": (1, 3)}, "outputs": {"y": (1, 3)}}
        self.shapes = {**tensors["outputs"], **tensors["inputs"]}
        kind = module.TensorIOMode
        self.modes = {
            name: kind.INPUT if name in tensors["inputs"] else kind.OUTPUT for name in self.shapes
        }
        self.num_io_tensors = len(self.shapes)
        module.alive.add(self)

    def get_tensor_name(self, index):
        return list(self.shapes)[index]

    def get_tensor_mode(self, name):
        return self.modes[name]

    def get_tensor_dtype(self, name):
        return np.float32

    def get_tensor_shape(self, name):
        return tuple(self.shapes[name])

    def create_execution_context(self):
        return _Context(self) if self.module.has_memory else None


class _Context:
    def __init__(self, engine):
        self.engine, self.addresses = engine, {}
        engine.module.alive.add(self)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert self.addresses.keys() == self.engine.shapes.keys()
        if self.engine.doubles:
            read, write = (self._floats(name) for name in "xy")
            write[:] = 2 * read
        return self.engine.module.runs

    def _floats(self, name):
        pointer = ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (3,))


class Cudart:
    """`libcudart` over this process's memory; counts what was not given back."""

    def __init__(self, fails=None):
        self.memory, self.fails, self.streams = {}, fails, 0
        self.allocated = self.freed = 0

    def __getattr__(self, name):
        def call(*arguments):
            if name == self.fails:
                return 2
            getattr(self, f"_{name}")(*arguments)
            return 0

        return call

    def _cudaStreamCreate(self, pointer):  # noqa: N802
        self.streams += 1
        pointer._obj.value = 7

    def _cudaStreamDestroy(self, stream):  # noqa: N802
        self.streams -= 1

    def _cudaStreamSynchronize(self, stream):  # noqa: N802
        assert stream.value == 7

    def _cudaMalloc(self, pointer, size):  # noqa: N802
        buffer = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(buffer)
        self.memory[pointer._obj.value] = buffer
        self.allocated += 1

    def _cudaFree(self, pointer):  # noqa: N802
        del self.memory[pointer.value]
        self.freed += 1

    def _cudaMemcpyAsync(self, to, source, size, direction, stream):  # noqa: N802
        ctypes.memmove(to, source, size.value)
