"""The speed of training: which convolutions a step executes, and that alone they all run."""

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow import keras

from mggr_tf.benchmark.convolutions import (
    ARITHMETIC,
    REST,
    Convolution,
    OpTime,
    convolutions_of,
    is_backward,
    kind_of,
    matrix_products_of,
    part_of,
    plain_convolution,
    trace_of,
)
from mggr_tf.benchmark.speed_report import Spread
from mggr_tf.benchmark.training_speed import convolutions_only_graph
from mggr_tf.cli import main
from refusals import error_of

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def small_step():
    """A step whose convolutions are counted by hand: three trained, one frozen behind them."""
    picture = keras.Input((8, 8, 3))
    inner = keras.layers.Conv2D(4, 3, strides=2, padding="same")(picture)
    inner = keras.layers.DepthwiseConv2D(3, padding="same")(inner)
    inner = keras.layers.Conv2D(2, 1)(inner)
    trained = keras.Model(picture, inner)
    features = keras.Input((4, 4, 2))
    frozen = keras.Model(features, keras.layers.Conv2D(5, 2)(features), name="alexnet")
    frozen.trainable = False

    def step(batch):
        with tf.GradientTape() as tape:
            made = trained(batch)
            frozen(2.0 * made)  # nobody asks for this
            loss = tf.reduce_mean(tf.square(frozen(made)))
        gradients = tape.gradient(loss, trained.trainable_variables)
        for variable, gradient in zip(trained.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
        return loss

    return tf.function(step), tf.ones([2, 8, 8, 3])


def found_in(small_step):
    step, batch = small_step
    return convolutions_of(step.get_concrete_function(batch).graph)


def test_convolutions_are_those_that_a_step_cannot_do_without(small_step):
    found = found_in(small_step)
    counted = Counter((c.op, c.direction) for c in found)
    assert counted == {
        ("Conv2D", "forward"): 3,  # the frozen one once, not twice
        ("DepthwiseConv2dNative", "forward"): 1,
        # The picture needs no gradient, the frozen filters neither.
        ("Conv2DBackpropInput", "to inputs"): 2,
        ("DepthwiseConv2dNativeBackpropInput", "to inputs"): 1,
        ("Conv2DBackpropFilter", "to filters"): 2,
        ("DepthwiseConv2dNativeBackpropFilter", "to filters"): 1,
    }
    assert Counter(c.part for c in found) == {REST: 8, "AlexNet": 2}


def test_each_way_of_a_convolution_has_as_many_products(small_step):
    found = found_in(small_step)
    strided = 2 * 4 * 4 * 3 * 3 * 3 * 4
    depthwise = 2 * 4 * 4 * 3 * 3 * 4
    pointwise = 2 * 4 * 4 * 4 * 2
    frozen = 2 * 3 * 3 * 2 * 2 * 2 * 5
    by_direction = {
        "forward": strided + depthwise + pointwise + frozen,
        "to inputs": depthwise + pointwise + frozen,
        "to filters": strided + depthwise + pointwise,
    }
    for direction, products in by_direction.items():
        mmac = sum(c.mmac for c in found if c.direction == direction)
        assert mmac == pytest.approx(products / 1e6), direction


def test_alone_all_of_them_are_executed_and_nothing_else_convolves(small_step):
    found = found_in(small_step)
    bare = convolutions_only_graph((*found, *found))  # twins are not computed once for both
    assert np.isfinite(float(bare()))
    wanted = Counter(c.op for c in found)
    trace = trace_of(lambda: float(bare()), calls=3)
    assert trace.convolutions() == {op: 2 * count for op, count in wanted.items()}
    assert trace.executor_ms > 0
    assert trace.call_ms > 0


def test_a_step_executes_what_its_graph_says(small_step):
    step, batch = small_step
    step(batch)
    trace = trace_of(lambda: float(step(batch)), calls=3)
    assert trace.convolutions() == Counter(c.op for c in found_in(small_step))


def test_alone_a_convolution_keeps_its_shapes_strides_and_type():
    one = Convolution(
        name="x",
        op="Conv2DBackpropInput",
        part=REST,
        direction="to inputs",
        inputs=((3, 3, 2, 4), (1, 4, 4, 4)),
        output=(1, 9, 9, 2),
        dtype="bfloat16",
        attributes={
            "strides": [1, 2, 2, 1],
            "padding": "VALID",
            "explicit_paddings": [],
            "dilations": [1, 1, 1, 1],
            "data_format": "NHWC",
        },
    )
    bare = convolutions_only_graph([one])
    graph = bare.get_concrete_function().graph
    assert [vars(c) | {"name": "x"} for c in convolutions_of(graph)] == [
        vars(one) | {"direction": "forward"}  # by its name, which is no step's
    ]
    assert matrix_products_of(graph) == 0


def test_a_shape_that_only_execution_tells_is_refused():
    kernel = tf.ones([1, 1, 3, 2])
    any_size = tf.TensorSpec([None, 4, 4, 3])
    traced = tf.function(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), input_signature=[any_size])
    with pytest.raises(ValueError, match="cannot be executed apart"):
        convolutions_of(traced.get_concrete_function().graph)


@pytest.mark.parametrize(
    ("name", "part", "backward"),
    [
        ("redirector/coarse_branch/encode0/Conv2D", "coarse branch", False),
        ("gradient_tape/redirector/warp/mul_3/Mul", "warp", True),
        ("gradient_tape/alexnet/conv1/Conv2D_2/Conv2DBackpropInput", "AlexNet", True),
        ("Adam/clip_by_global_norm/mul", "optimizers", False),
        ("sub_17", REST, False),
        ("warp", REST, False),
    ],
)
def test_names_tell_whose_an_op_is(name, part, backward):
    assert (part_of(name), is_backward(name)) == (part, backward)


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("_MklNativePadWithFusedConv2D", "convolutions, forward"),
        ("_MklNativeFusedMatMul", "matrix products"),
        ("_MklNativeAvgPoolGrad", "pooling"),
        ("MirrorPadGrad", "moving, padding, selecting, casting"),
        ("ResizeBicubicGrad", "resizing"),
        ("ReadVariableOp", "variables"),
        ("Mul", ARITHMETIC),
    ],
)
def test_types_tell_the_kind_of_work(op, kind):
    assert kind_of(OpTime("a/b", op, 1.0)) == kind


def test_fused_and_plain_convolutions_are_of_one_type():
    assert plain_convolution("_MklNativeFusedConv2D") == "Conv2D"
    filters = plain_convolution("_MklNativeConv2DBackpropFilterWithBias")
    assert filters == "Conv2DBackpropFilter"
    depthwise = plain_convolution("_MklNativeDepthwiseConv2dNativeBackpropInput")
    assert depthwise == "DepthwiseConv2dNativeBackpropInput"


def test_a_spread_is_a_median_between_its_tenths():
    assert Spread.of(np.arange(101.0)) == Spread(10.0, 50.0, 90.0, mean=50.0)


def test_a_ratio_is_taken_round_by_round_and_of_sums():
    over, under = np.array([1.0, 2.0, 12.0]), np.array([2.0, 4.0, 3.0])
    ratio = Spread.of_ratio(over, under)
    assert (ratio.median, ratio.mean) == (0.5, 15 / 9)


def invoke(*arguments):
    return CliRunner().invoke(main, ["bench-train", *map(str, arguments)])


@pytest.fixture(scope="module")
def timed(tiny_changes, tmp_path_factory):
    """What the command says and writes of mggr-edge's joint step with next to no capacity."""
    flags = [part for change in tiny_changes for part in ("--set", change)]
    small = ("--set", "synthetic.subjects=4", "--set", "synthetic.per_group=2")
    file = tmp_path_factory.mktemp("speed") / "speed.json"
    done = invoke(*flags, *small, "--seconds", 0, "--profile", "--json", file)
    assert done.exit_code == 0, done.output
    return done.stdout, json.loads(file.read_text())


@pytest.mark.slow
def test_convolutions_of_a_joint_step_are_those_of_its_networks(timed):
    _, found = timed
    assert Counter((c["part"], c["direction"]) for c in found["convolutions"]) == {
        # Two levels, two in a block, one decoder level, a head; its picture needs no gradient.
        ("coarse branch", "forward"): 6,
        ("coarse branch", "to inputs"): 5,
        ("coarse branch", "to filters"): 6,
        # Two levels, one decoder level, two for detail, three heads; it sees the coarse picture.
        ("fine branch", "forward"): 8,
        ("fine branch", "to inputs"): 8,
        ("fine branch", "to filters"): 8,
        # Two levels and a score. The generator's way back ends in the picture, its own before.
        ("discriminator", "forward"): 3 + 3,
        ("discriminator", "to inputs"): 3 + 2,
        ("discriminator", "to filters"): 3,
        # Three levels and a squeeze for the angle; three levels' features of picture and target.
        ("estimator", "forward"): 4 + 3 + 3,
        ("estimator", "to inputs"): 4 + 3,
    }


@pytest.mark.slow
def test_the_command_says_every_rate_and_writes_it(timed):
    stdout, found = timed
    for said in (
        "mggr-edge, stage joint, data synthetic: 2 pairs a step",
        "batches alone",
        "step, on one batch",
        "step, on its batches",
        "its convolutions alone",
        "a step executes 72 convolutions",
        "convolutions, to filters",
        "optimizers",
    ):
        assert said in stdout
    assert found["rounds"] >= 20
    ms = {name: spread["median"] for name, spread in found["ms"].items()}
    assert set(ms) == {"batches", "one_batch", "its_batches", "bare"}
    # Whatever else this machine does: a step is more than its convolutions.
    assert 0 < found["step_over_bare"]["median"] < 1
    assert found["pairs_per_second"]["bare"] == pytest.approx(2000 / ms["bare"])
    assert sum(c["mmac"] for c in found["convolutions"]) == pytest.approx(found["mmac"])


@pytest.mark.parametrize(
    ("arguments", "code", "fields"),
    [
        (["--data", "nowhere"], "source-missing", {"path": "nowhere"}),
        (["--config", "nonsense"], "no-such-config", {"name": "nonsense"}),
        (
            ["--config", "deepwarp-edge", "--stage", "coarse"],
            "no-such-stage",
            {"config": "deepwarp-edge", "stage": "coarse"},
        ),
        (["--vgg16", "nowhere.h5"], "vgg16-missing", {"path": "nowhere.h5"}),
        (["--json", "."], "option-names-folder", {"option": "--json", "path": "."}),
    ],
)
def test_mistakes_are_one_line(arguments, code, fields):
    error_of(invoke(*arguments), code, **fields)


def test_an_unknown_stage_is_refused():
    result = invoke("--stage", "sixth")
    assert result.exit_code == 2
    assert "'sixth' is not one of" in result.stderr
    assert "Traceback" not in result.output
