"""The same model becomes the same ONNX bytes, however its converter walked and counted."""

import random
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.runtimes.onnx import OnnxRunner
from mggr_export.formats.onnx.convert import canonical

SIZES = [1, 3, 4, 4]


def graph():
    """Two branches from one picture: one convolved, one clipped by constants."""
    constants = {
        "weights__3": np.random.default_rng(1).normal(size=(3, 3, 1, 1)).astype(np.float32),
        "least__8": np.float32(-0.5),
        "most__9": np.float32(0.5),
    }
    return helper.make_graph(
        [
            helper.make_node("Identity", ["eye"], ["same__1"], name="same__1"),
            helper.make_node("Conv", ["same__1", "weights__3"], ["conv__5"], name="branch/conv__5"),
            helper.make_node("Clip", ["same__1", "least__8", "most__9"], ["clipped"], name="c__6"),
            helper.make_node("Relu", ["conv__5"], ["relu__7"], name=""),
            helper.make_node("Add", ["relu__7", "clipped"], ["sum"], name="a__10"),
            helper.make_node("Relu", ["sum"], ["made"], name="relu__11"),
        ],
        "eyes",
        [helper.make_tensor_value_info("eye", TensorProto.FLOAT, SIZES)],
        [
            helper.make_tensor_value_info("made", TensorProto.FLOAT, SIZES),
            helper.make_tensor_value_info("clipped", TensorProto.FLOAT, SIZES),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def as_another_process_writes_it(original, seed):
    """The same computation: other numbers, nodes and constants in another order."""
    chance = random.Random(seed)
    other = onnx.GraphProto()
    other.CopyFrom(original)
    numbers = list(range(100, 112))
    chance.shuffle(numbers)

    def renamed(name):
        return re.sub(r"__(\d+)", lambda found: f"__{numbers[int(found[1])]}", name)

    for node in other.node:
        node.name = renamed(node.name)
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for constant in other.initializer:
        constant.name = renamed(constant.name)
    # An unused constant, as a converter leaves them.
    other.initializer.append(numpy_helper.from_array(np.float32(seed), "left__0"))
    for field in (other.node, other.initializer):
        messages = list(field)
        chance.shuffle(messages)
        copies = [type(m).FromString(m.SerializeToString()) for m in messages]
        del field[:]
        field.extend(copies)
    return other


def model_of(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("seed", range(5))
def test_order_and_numbers_leave_no_trace(seed):
    one, other = graph(), as_another_process_writes_it(graph(), seed)
    assert one.SerializeToString(deterministic=True) != other.SerializeToString(deterministic=True)
    canonical(one)
    canonical(other)
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_it_computes_what_it_computed():
    renamed = as_another_process_writes_it(graph(), 7)
    canonical(renamed)
    onnx.checker.check_model(model_of(renamed), full_check=True)
    eye = np.random.default_rng(2).uniform(-1, 1, SIZES).astype(np.float32)
    was = OnnxRunner(model_of(graph()).SerializeToString())({"eye": eye})
    now = OnnxRunner(model_of(renamed).SerializeToString())({"eye": eye})
    assert now.keys() == was.keys() == {"made", "clipped"}
    for name, value in was.items():
        np.testing.assert_array_equal(now[name], value)


def test_layers_keep_their_names_and_inputs_and_outputs_theirs():
    one = graph()
    canonical(one)
    assert [(n.op_type, n.name) for n in one.node] == [
        ("Identity", "Identity"),
        ("Conv", "branch/conv"),
        ("Relu", "Relu"),
        ("Clip", "Clip"),
        ("Add", "Add"),
        ("Relu", "Relu_2"),
    ]
    assert [c.name for c in one.initializer] == ["branch/conv/1", "Clip/1", "Clip/2"]
    assert {name for node in one.node for name in node.output} >= {"made", "clipped"}


def test_an_output_that_is_a_constant_stays():
    constant = numpy_helper.from_array(np.zeros(2, np.float32), "zeros")
    one = helper.make_graph(
        [], "eyes", [], [helper.make_tensor_value_info("zeros", TensorProto.FLOAT, [2])], [constant]
    )
    canonical(one)
    assert [c.name for c in one.initializer] == ["zeros"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--int8"]])
def test_two_processes_write_the_same_bytes(run, eyes, tmp_path, options):
    made = []
    for name in ("a", "b"):
        command = [sys.executable, "-m", "mggr_tf", "export", str(run.path), "--data", str(eyes)]
        command += [
            "--formats",
            "tflite,tensorrt,saved_model",
            "--out",
            str(tmp_path / name),
            *options,
        ]
        subprocess.run(command, check=True, capture_output=True)
        made.append(read_bundle_files(tmp_path / name))
    assert made[0] == made[1]
