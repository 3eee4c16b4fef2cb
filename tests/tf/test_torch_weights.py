"""State dicts in PyTorch's two forms, written here by hand, and what must be refused."""

import errno
import os
import pickle
from collections import OrderedDict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from mggr_edge.errors import RunError
from mggr_tf.models.torch_weights import read_state_dict
from refusals import refusal

spec = spec_from_file_location("torch_writer", Path(__file__).with_name("torch_writer.py"))
torch_writer = module_from_spec(spec)
spec.loader.exec_module(torch_writer)
Call, Global, Storage = torch_writer.Call, torch_writer.Global, torch_writer.Storage
legacy, pickled, tensor, zipped = (
    getattr(torch_writer, name) for name in ("legacy", "pickled", "tensor", "zipped")
)

rng = np.random.default_rng(0)
KERNEL = rng.normal(size=(4, 3, 2, 2)).astype(np.float32)
COUNT = np.array([7], np.int64)


def state_dict():
    storages = [Storage("11", KERNEL), Storage("12", COUNT)]
    entries = OrderedDict(
        kernel=tensor(storages[0]),
        count=tensor(storages[1]),
        turned=tensor(storages[0], shape=(2, 3), strides=(1, 2), offset=6),
    )
    return entries, storages


both_forms = pytest.mark.parametrize("form", [legacy, zipped])


def read(tmp_path, content):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    return read_state_dict(file)


@both_forms
def test_tensors_come_back_with_their_names_types_and_strides(form, tmp_path):
    found = read(tmp_path, form(*state_dict()))
    assert list(found) == ["kernel", "count", "turned"]
    np.testing.assert_array_equal(found["kernel"], KERNEL)
    np.testing.assert_array_equal(found["count"], COUNT)
    np.testing.assert_array_equal(found["turned"], KERNEL.ravel()[6:12].reshape(3, 2).T)
    assert found["count"].dtype == np.int64


@both_forms
@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("torch", "load")],
)
def test_nothing_that_a_pickle_names_is_run(form, module, name, tmp_path):
    witness = tmp_path / "ran"
    entries, storages = state_dict()
    entries["bad"] = Call(Global(module, name), f"touch {witness}")
    unsafe = {"path": tmp_path / "weights.pth", "name": f"{module}.{name}"}
    with refusal(RunError, "state-dict-unsafe", **unsafe):
        read(tmp_path, form(entries, storages))
    assert not witness.exists()


def test_the_attack_would_have_worked(tmp_path):
    """Else the test above proves nothing."""
    witness = tmp_path / "ran"
    pickle.loads(pickled(Call(Global("os", "system"), f"touch {witness}")))
    assert witness.exists()


@both_forms
def test_a_file_cut_anywhere_is_damaged(form, tmp_path):
    whole = form(*state_dict())
    for length in range(0, len(whole), 7):
        with refusal(RunError, "state-dict-damaged", path=tmp_path / "weights.pth"):
            read(tmp_path, whole[:length])


@both_forms
@pytest.mark.parametrize(
    "view",
    [
        {"offset": KERNEL.size},
        {"offset": -1},
        {"shape": (KERNEL.size + 1,), "strides": (1,)},
        {"shape": (2,), "strides": (-1,), "offset": 4},
        {"shape": (2, 2), "strides": (1,)},
        {"shape": (1 << 50,), "strides": (0,)},
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(form, view, tmp_path):
    storage = Storage("1", KERNEL.ravel())
    with refusal(RunError, "state-dict-damaged", path=tmp_path / "weights.pth"):
        read(tmp_path, form({"kernel": tensor(storage, **view)}, [storage]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        pickle.dumps({"a": 1}),
        legacy([1, 2], []),
        legacy({"a": 1}, []),
        legacy(*state_dict(), order="big_endian"),
        zipped({"a": "text"}, []),
        zipped(7, []),
    ],
)
def test_what_is_no_state_dict_is_refused_in_one_line(content, tmp_path):
    with refusal(RunError, "state-dict-damaged", path=tmp_path / "weights.pth") as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    gone = {"path": tmp_path / "gone.pth", "reason": os.strerror(errno.ENOENT)}
    with refusal(RunError, "state-dict-unreadable", **gone):
        read_state_dict(tmp_path / "gone.pth")
