"""The part of a graph that stays float, and the gates on a file's structure."""

import pytest

from mggr_edge.errors import ArtifactError, BundleError
from mggr_export.formats.tflite.graph import (
    Graph,
    Op,
    Tensor,
    check_structure,
    op_counts,
    read_graph,
)
from refusals import refusal


def graph(*, conv="float32", tail="float32", shape=(1, 4), kinds=("ADD", "GATHER")):
    """picture -> CONV_2D -> two ops -> out, and weights; a CONV_2D beside it reads the out."""
    tensors = (
        Tensor("picture", conv, shape, False),
        Tensor("weights", conv, (4, 4), True),
        Tensor("features", conv, (1, 4), False),
        Tensor("coordinates;fused", tail, (1, 4), False),
        Tensor("out", "float32", (1, 4), False),
        Tensor("more", conv, (1, 4), False),
    )
    ops = (
        Op("CONV_2D", (0, 1), (2,)),
        Op(kinds[0], (2,), (3,)),
        Op(kinds[1], (3, 0), (4,)),
        Op("CONV_2D", (2, 1), (5,)),
    )
    return Graph(ops, tensors, (0,), (4, 5))


def test_the_tail_lies_between_the_last_convolutions_and_the_outputs():
    made = graph()
    assert [op.kind for op in made.tail()] == ["ADD", "GATHER"]
    assert [t.name for t in made.made_by(made.tail())] == ["coordinates;fused", "out"]


def test_a_sound_graph_passes():
    check_structure(graph(), precision="float32")
    check_structure(graph(conv="int8"), precision="int8")
    assert op_counts(graph()) == {"ADD": 1, "CONV_2D": 2, "GATHER": 1}


@pytest.mark.parametrize(
    ("spoilt", "precision", "code", "fields"),
    [
        (
            graph(kinds=("ADD", "custom:FlexWarp")),
            "float32",
            "op-not-builtin",
            {"op": "custom:FlexWarp"},
        ),
        (graph(kinds=("ADD", "GATHER_ND")), "float32", "op-not-allowed", {"op": "GATHER_ND"}),
        (
            graph(shape=(-1, 4)),
            "float32",
            "size-not-fixed",
            {"tensor": "picture", "sizes": [-1, 4]},
        ),
        (
            graph(conv="int8", tail="int8"),
            "int8",
            "tail-not-float",
            {"op": "ADD", "tensor": "coordinates", "found": "int8"},
        ),
        (
            graph(),
            "int8",
            "convolution-input-dtype",
            {"op": "CONV_2D", "tensor": "features", "found": "float32", "expected": "int8"},
        ),
        (
            graph(conv="int8"),
            "float32",
            "convolution-input-dtype",
            {"op": "CONV_2D", "tensor": "features", "found": "int8", "expected": "float32"},
        ),
    ],
)
def test_a_spoilt_graph_is_refused(spoilt, precision, code, fields):
    with refusal(ArtifactError, code, **fields):
        check_structure(spoilt, precision=precision)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_other_bytes_are_no_graph(content):
    with refusal(BundleError, "not-a-tflite-file"):
        read_graph(content)
