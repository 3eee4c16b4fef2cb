"""TensorRT and CUDA as their documentation describes them, recorded: nothing of NVIDIA runs here.

An engine of this TensorRT doubles its input `x` [1, 3] into its output `y`; the GPU's memory is
this process's own.
"""

import ctypes
from enum import Enum, IntEnum
from types import SimpleNamespace

import numpy as np

UNREADABLE = b"no model"


class Log(list):
    """What was called, in order."""

    def names(self):
        return [entry[0] for entry in self]


def make(version, *, builds=True):
    """A module of that version and the log of its calls."""
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
        return _Engine(self.module) if content.startswith(b"ENGINE") else None


class _Engine:
    num_io_tensors = 2

    def __init__(self, module):
        self.modes = {"x": module.TensorIOMode.INPUT, "y": module.TensorIOMode.OUTPUT}

    def get_tensor_name(self, index):
        return ("y", "x")[index]

    def get_tensor_mode(self, name):
        return self.modes[name]

    def get_tensor_dtype(self, name):
        return np.float32

    def get_tensor_shape(self, name):
        return (1, 3)

    def create_execution_context(self):
        return _Context()


class _Context:
    def __init__(self):
        self.addresses = {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        read, write = (self._floats(name) for name in "xy")
        write[:] = 2 * read
        return True

    def _floats(self, name):
        pointer = ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (3,))


class Cudart:
    """`libcudart` over this process's memory; counts what was not given back."""

    def __init__(self, fails=None):
        self.memory, self.fails, self.streams = {}, fails, 0

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

    def _cudaFree(self, pointer):  # noqa: N802
        del self.memory[pointer.value]

    def _cudaMemcpyAsync(self, to, source, size, direction, stream):  # noqa: N802
        ctypes.memmove(to, source, size.value)
